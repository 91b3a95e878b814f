"""A canary in every place: parameters, headers, queries, answers, errors and tokens, of calls that pass,
fail, are refused, held or withheld. None is found in what the gateway wrote, in prompts, or in mitmweb's API.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.gateway import Gateway, make_home, running
from support.upstream import Recorder, http_answer, recorder
from support.wire import Wire, request

CANARY = "canary-7f3a9c"
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
SETTINGS = '[approvals]\nattempt = "1s"\nlocal_groups = ["oncall"]\n'
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
    return http_answer(200, json.dumps({"Name": "s", "SecretString": CANARY}).encode(), **json_type)


@pytest.fixture
def far() -> Iterator[Recorder]:
    with recorder(answer) as state:
        yield state


def traffic(gateway: Gateway, token: str) -> None:
    """Calls of every kind, and refused ones."""
    secrets = gateway.client("secretsmanager", token=token)
    assert secrets.get_secret_value(SecretId="s")["SecretString"] == "***"
    secrets.put_secret_value(SecretId="s", SecretString=CANARY, SecretBinary=CANARY.encode())
    with pytest.raises(ClientError, match=r"the token \*\*\* has gone"):
        secrets.delete_secret(SecretId="s")
    with pytest.raises(ClientError):
        secrets.update_secret(SecretId="s", SecretString=CANARY)
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
        gateway.client("iam", token=token).create_login_profile(UserName="u", Password=CANARY)
    for raw in (
        # A duplicate key, a session token, a query, a body that is none.
        request(
            f'{{"SecretString":"{CANARY}","SecretString":"{CANARY}"}}'.encode(),
            host=SECRETS, service="secretsmanager", operation="secretsmanager.PutSecretValue",
            more=f"X-Amz-Security-Token: {CANARY}\r\nCookie: {CANARY}\r\n",
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


def files(folder: Path) -> Iterator[Path]:
    """What the gateway has written, but for its keys."""
    return (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "keys")


def around(data: bytes, secret: bytes) -> bytes:
    """Where in `data` the secret stands."""
    at = data.index(secret)
    return data[max(0, at - 200) : at + 50]


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


@pytest.mark.case("F09", "F10")
@pytest.mark.parametrize("form", ["serve", "mitmweb"])
def test_no_canary_is_found_anywhere_whatever_became_of_the_call(
    folder: Path, far: Recorder, form: str
) -> None:
    home = make_home(folder, endpoint=far.url, rules=RULES, more=SETTINGS)
    with running(home, form=form) as gateway:
        token = home.token()
        traffic(gateway, token)
        ends = gateway.ended(12)
        assert {end.get("result") for end in ends} == {"completed", "refused", "blocked"}
        prompts = gateway.callgate("approvals", "list", "--json").stdout
        assert "UpdateSecret" in prompts
        seen = {"prompts": prompts.encode()} | (shown(gateway) if form == "mitmweb" else {})
        assert gateway.stop() == 0
    found = {path.name: path.read_bytes() for path in files(folder)} | seen
    for secret in (CANARY, CANARY[-6:], JWT, token, base64.b64encode(f"job:{token}".encode()).decode()):
        for form_of_it in (secret.encode(), base64.b64encode(secret.encode())):
            places = {name: around(data, form_of_it) for name, data in found.items() if form_of_it in data}
            assert places == {}
