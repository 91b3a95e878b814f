"""A canary in every place: parameters, headers, queries, answers, errors and tokens, of calls that pass,
fail, are refused, held or withheld. None is found, in whatever form, in what the gateway wrote, tells
approvers, webhooks, mitmweb and the admin socket, or in what any command makes of its log.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from callgate.cli import main as callgate
from support.canary import AWKWARD, CANARY, forms, found_in, written
from support.gateway import ROOT, Gateway, make_home, running, wait_for
from support.upstream import Recorder, http_answer, recorder
from support.wire import Wire, request

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.Y2FuYXJ5LTdmM2E5Yw"
RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]
[[rule]]
id = "no-users"
effect = "deny"
action = ["iam:CreateLoginProfile"]
[[rule]]
id = "held"
effect = "hold"
action = ["secretsmanager:UpdateSecret"]
hold = { by = ["oncall"], within = "60s" }
[[rule]]
id = "masks"
effect = "mask"
action = ["secretsmanager:*", "s3:GetObject", "ssm:*"]
response = ['$..SecretString', '$.Metadata', '$.Body', '$..Value']
detect = ["jwt"]
"""
SETTINGS = """
[approvals]
attempt = "1s"
local_groups = ["oncall"]
[[approvals.webhook]]
name = "ours"
url = "URL/json"
key_file = "webhook.key"
events = ["hold.opened", "hold.denied", "hold.approved", "hold.expired", "hold.used"]
[[approvals.webhook]]
name = "chat"
form = "slack"
url = "URL/slack"
[[approvals.webhook]]
name = "teams"
form = "teams"
url = "URL/teams"
"""
SECRETS = "secretsmanager.us-east-1.amazonaws.com"


def answer(raw: bytes) -> bytes:
    """A canary wherever an answer can have one."""
    json_type = {"Content_Type": "application/x-amz-json-1.1"}
    if b"AmazonSSM.GetParameter" in raw:
        # Cut short: it cannot be masked.
        return http_answer(200, f'{{"Parameter": {{"Value": "{CANARY}"'.encode(), **json_type)
    if b"DeleteSecret" in raw:
        said = {"__type": "InvalidRequestException", "message": f"the token {JWT} has gone"}
        return http_answer(400, json.dumps(said).encode(), x_amzn_note=JWT, **json_type)
    if b"GET /" in raw:
        return http_answer(200, CANARY.encode(), x_amz_meta_owner=CANARY)
    if b"PUT /" in raw:
        return http_answer(200, b"")
    if b"Action=AssumeRole" in raw:
        keys = f"<AccessKeyId>{CANARY}</AccessKeyId><SecretAccessKey>{CANARY}</SecretAccessKey>"
        result = f"<AssumeRoleResult><Credentials>{keys}</Credentials></AssumeRoleResult>"
        return http_answer(200, f"<AssumeRoleResponse>{result}</AssumeRoleResponse>".encode())
    body = {"Name": "s", "SecretString": CANARY + AWKWARD}
    if b"Token" in raw and b"GetSecretValue" in raw:
        packed = gzip.compress(json.dumps(body).encode())
        return http_answer(200, packed, Content_Encoding="gzip", **json_type)
    return http_answer(200, json.dumps(body).encode(), **json_type)


@pytest.fixture
def far() -> Iterator[Recorder]:
    with recorder(answer) as state:
        yield state


def traffic(gateway: Gateway, token: str) -> None:
    """Calls of every kind, and refused ones."""
    secrets = gateway.client("secretsmanager", token=token)
    assert secrets.get_secret_value(SecretId="s")["SecretString"] == "***"
    assert secrets.get_secret_value(SecretId="Token")["SecretString"] == "***"
    secrets.put_secret_value(SecretId="s", SecretString=CANARY, SecretBinary=CANARY.encode())
    secrets.put_secret_value(SecretId="s", SecretString=json.dumps({"password": AWKWARD}))
    with pytest.raises(ClientError, match=r"the token \*\*\* has gone"):
        secrets.delete_secret(SecretId="s")
    with pytest.raises(ClientError):
        secrets.update_secret(SecretId="s", SecretString=CANARY + AWKWARD)
    with pytest.raises(ClientError, match="502"):
        gateway.client("ssm", token=token).get_parameter(Name="p")
    s3 = gateway.client("s3", token=token)
    found = s3.get_object(Bucket="bucket", Key="k")
    assert (found["Body"].read(), found["Metadata"]) == (b"***", {})
    s3.put_object(
        Bucket="bucket", Key="k", Body=CANARY.encode(), SSECustomerKey="k" * 32, SSECustomerAlgorithm="AES256"
    )
    gateway.client("sts", token=token).assume_role(
        RoleArn="arn:aws:iam::1:role/r1", RoleSessionName="s1", TokenCode=CANARY[-6:]
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        gateway.client("iam", token=token).create_login_profile(UserName="u", Password=CANARY + AWKWARD)
    lambdas = gateway.client("lambda", token=token)
    lambdas.invoke(FunctionName="f", Payload=json.dumps({"key": AWKWARD}))
    lambdas.update_function_configuration(FunctionName="f", Environment={"Variables": {"KEY": AWKWARD}})
    gateway.client("dynamodb", token=token).put_item(
        TableName="t", Item={"a": {"S": AWKWARD}, "b": {"S": CANARY}}
    )
    for raw in (
        # A duplicate key, a session token, a query, a body that is none.
        request(
            f'{{"SecretString":"{CANARY}","SecretString":"{CANARY}"}}'.encode(),
            host=SECRETS, service="secretsmanager", operation="secretsmanager.PutSecretValue",
            more=f"Cookie: {CANARY}\r\n",
        ),
        request(
            b'{"SecretId":"s"}', host=SECRETS, target=f"/?token={CANARY}", service="secretsmanager",
            operation="secretsmanager.GetSecretValue",
        ),
        request(
            CANARY.encode(), host=SECRETS, service="secretsmanager",
            operation="secretsmanager.GetSecretValue",
        ),
    ):  # fmt: skip
        with Wire(gateway) as wire:
            assert wire.connect(f"{SECRETS}:443", token).status == 200
            wire.tls(SECRETS)
            wire.send(raw)
            refused = wire.read()
            assert 400 <= refused.status < 500
            assert CANARY.encode() not in refused.body


def listening(pid: int) -> set[int]:
    """The TCP ports on which a process listens."""
    open_ones = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1][-4:], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in open_ones}


def shown(gateway: Gateway) -> dict[str, bytes]:
    """All that mitmweb's API tells of the flows it has."""
    (port,) = listening(gateway.process.pid) - {gateway.address[1]}
    headers = {"Authorization": "Bearer test"}

    def get(path: str) -> bytes:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        ) as found:
            body: bytes = found.read()
            return body

    told = {path: get(path) for path in ("/flows", "/flows/dump", "/events")}
    flows = json.loads(told["/flows"])
    assert len(flows) >= 12
    for flow in flows:
        for message in ("request", "response"):
            with contextlib.suppress(urllib.error.HTTPError):
                path = f"/flows/{flow['id']}/{message}/content.data"
                told[path] = get(path)
    return told


def asked(gateway: Gateway, token: str) -> dict[str, bytes]:
    """What the admin socket says, and the job's own list of refusals."""
    told = {}
    for path in (
        "/healthz",
        "/v1/approvals?state=all",
        "/v1/sessions",
        "/v1/grants",
        "/v1/undelivered",
        "/v1/x",
    ):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(gateway.home.folder / "state" / "admin.sock"))
            admin.sendall(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            with admin.makefile("rb") as stream:
                told[path] = stream.read()
    with urllib.request.urlopen(
        urllib.request.Request(
            f"http://{gateway.proxy}/callgate/refusals", headers={"Authorization": f"Bearer {token}"}
        )
    ) as found:
        told["refusals"] = found.read()
    assert b"iam" in told["refusals"]
    return told


def commands(gateway: Gateway, folder: Path) -> dict[str, bytes]:
    """What each command makes of the log, on standard output, error and in files."""
    out = folder.parent / "out"
    out.mkdir()
    forms_of_export = ("jsonl", "ocsf", "cloudtrail", "csv")
    told = {}

    def run(*arguments: str, given: bytes | None = None, config: bool = True) -> bytes:
        more = ["--config", str(gateway.home.config)] if config else []
        done = CliRunner().invoke(callgate, [*arguments, *more], input=given)
        assert done.exit_code == 0, (arguments, done.output)
        told[" ".join(arguments)] = done.stdout_bytes + done.stderr_bytes
        return done.stdout_bytes

    calls = [json.loads(line) for line in run("log", "--json", "-n", "100").splitlines()]
    assert len(calls) == 17
    run("log", "-n", "100")
    run("log", "stats", "--json")
    run("rules", "impact", "--json")
    run("verify")
    run("report", "--out", str(out / "report.html"))
    for call in calls:
        run("log", "show", call["callId"])
    exported = {form: run("export", "--format", form) for form in forms_of_export}
    run("export", "--format", "ocsf", "--out", f"{out}/")
    run("explain", given=exported["jsonl"], config=False)
    return told | written(out)


@pytest.mark.case("F09", "F10")
@pytest.mark.parametrize("form", ["serve", "mitmweb"])
def test_no_canary_is_found_anywhere_whatever_became_of_the_call(
    folder: Path, far: Recorder, form: str
) -> None:
    with recorder() as hooked:
        home = make_home(folder, endpoint=far.url, rules=RULES, more=SETTINGS.replace("URL", hooked.url))
        (folder / "webhook.key").write_text("k" * 32)
        (folder / "webhook.key").chmod(0o600)
        with running(home, form=form) as gateway:
            token = home.token()
            traffic(gateway, token)
            ends = gateway.ended(17)
            assert {end.get("result") for end in ends} == {"completed", "refused", "blocked"}
            told = asked(gateway, token)
            assert b"UpdateSecret" in told["/v1/approvals?state=all"]
            for verb in ("list", "undelivered"):
                told[f"approvals {verb}"] = gateway.callgate("approvals", verb).stdout.encode()
            (hold,) = json.loads(gateway.callgate("approvals", "list", "--json").stdout)
            told["approvals show"] = gateway.callgate("approvals", "show", hold["id"]).stdout.encode()
            gateway.callgate("approvals", "deny", hold["id"], "--reason", "no")
            wait_for(lambda: len(hooked.requests) >= 6, what="what three webhooks are told")
            told |= {f"webhook {number}": sent for number, sent in enumerate(hooked.requests)}
            told |= shown(gateway) if form == "mitmweb" else {}
            assert gateway.stop() == 0
        told |= commands(gateway, folder) if form == "serve" else {}
    secrets = (CANARY, AWKWARD, CANARY[-6:], JWT, token)
    assert found_in(told | written(folder), secrets) == {}


def test_a_canary_is_recognised_in_every_form() -> None:
    for secret in (CANARY, AWKWARD):
        for name, form in forms(secret).items():
            assert found_in({"a": b"x" + form + b"y", "b": b"nothing"}, (secret,)), name
        for before in range(4):
            whole = b"\0" * before + secret.encode() + b"more"
            for packed in (base64.b64encode(whole), gzip.compress(whole), b"log" + zlib.compress(whole)):
                assert found_in({"a": packed}, (secret,))
    # Tokens are known by their looks.
    basic = base64.b64encode(f"job:{JWT}".encode())
    assert found_in({"a": f"header {JWT}".encode()}, ())
    assert found_in({"a": basic}, ())
    assert found_in({"a": JWT.rpartition(".")[0].encode(), "b": b""}) == {}


@pytest.mark.full
def test_the_demonstration_shows_no_secret_and_no_token() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo_story.py")], capture_output=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert b"nothing that the gateway wrote" in done.stdout
    assert found_in({"output": done.stdout, "errors": done.stderr}, ["correct-horse-battery-staple"]) == {}
