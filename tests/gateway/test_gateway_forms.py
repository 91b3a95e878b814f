"""The three forms of the gateway behave the same, start cleanly or not at all, and survive what is done to
their files.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.gateway import BIN, COMMANDS, ROOT, Gateway, Home, make_home, running, wait_for
from support.mitmweb import in_mitmweb

RULES = """
[[rule]]
id = "allow"
effect = "allow"
action = ["*:*"]
[[rule]]
id = "deny"
effect = "deny"
action = ["iam:CreateUser"]
[[rule]]
id = "mask"
effect = "mask"
action = ["secretsmanager:GetSecretValue"]
response = ['$.SecretString']
"""


def job(gateway: Gateway) -> list[Any]:
    """A job list, and what its client saw."""
    seen: list[Any] = [gateway.client("sts").get_caller_identity()["Account"]]
    s3 = gateway.client("s3")
    s3.create_bucket(Bucket="forms")
    s3.put_object(Bucket="forms", Key="k", Body=b"x" * 70_000)
    seen.append(len(s3.get_object(Bucket="forms", Key="k")["Body"].read()))
    try:
        gateway.client("iam").create_user(UserName="u")
    except ClientError as error:
        seen.append(error.response["Error"]["Code"])
    secrets = gateway.client("secretsmanager")
    secrets.create_secret(Name="form", SecretString="canary")
    seen.append(secrets.get_secret_value(SecretId="form")["SecretString"])
    return seen


SHOWN = [
    ("\u2705", "sts:GetCallerIdentity -> allow (allow)"),
    ("\u2705", "s3:CreateBucket -> allow (allow)"),
    ("\u2705", "s3:PutObject -> allow (allow)"),
    ("\u2705", "s3:GetObject -> allow (allow)"),
    ("\u26d4", "iam:CreateUser -> deny (rule-deny: Rule 'deny': denied.)"),
    ("\u2705", "secretsmanager:CreateSecret -> allow (allow)"),
    ("\u2705", "secretsmanager:GetSecretValue -> allow (allow, mask)"),
]


def shown(flow: dict[str, Any]) -> tuple[str, str]:
    """Marker and comment of a flow in mitmweb, the latter without the principal and the call's id."""
    who, _, what = flow["comment"].partition(" ")
    assert who == "github:acme/infra:environment:production"
    return flow["marked"], what.rpartition(" [cg-")[0]


@pytest.mark.parametrize("form", COMMANDS)
def test_each_form_handles_the_same_job_list(form: str, clean_moto: str, folder: Path) -> None:
    home = make_home(folder, endpoint=clean_moto, rules=RULES)
    with ExitStack() as stack:
        if form == "mitmweb":
            gateway, web = stack.enter_context(in_mitmweb(home))
        else:
            gateway = stack.enter_context(running(home, form=form))
        seen = job(gateway)
        gateway.ended(7)
        if form == "mitmweb":
            assert [shown(flow) for flow in web.ask("GET", "/flows")] == SHOWN
        assert gateway.stop() == 0
    assert seen == ["123456789012", 70_000, "AccessDenied", "***"]
    kinds = [entry["kind"] for entry in gateway.entries()]
    assert kinds.count("call.intent") == 6
    assert kinds.count("call.outcome") == 6
    assert kinds.count("call.refused") == 1
    assert kinds[-1] == "gateway.stopped"


@pytest.mark.parametrize("form", ["mitmdump", "mitmweb"])
@pytest.mark.parametrize("damage", ["broken", "emptied", "deleted"])
def test_damage_to_the_script_while_it_runs_opens_nothing(
    form: str, damage: str, upstream: Any, folder: Path, tmp_path: Path
) -> None:
    script = tmp_path / "gateway.py"
    shutil.copyfile(ROOT / "addons" / "gateway.py", script)
    home = make_home(folder, endpoint=upstream.url, rules=RULES)
    with running(home, form=form, script=script) as gateway:
        with pytest.raises(ClientError, match="AccessDenied"):
            gateway.client("iam").create_user(UserName="u")
        match damage:
            case "broken":
                script.write_text("def load(:\n")
            case "emptied":
                script.write_text("")
            case "deleted":
                script.unlink()
        noticed = {"broken": "SyntaxError", "deleted": "Removing script", "emptied": "Loading script"}[damage]
        if form == "mitmdump":
            wait_for(
                lambda: noticed in gateway.log.read_text().rpartition("ready on")[2], 10, "mitmproxy's notice"
            )
        for _ in range(3):
            with pytest.raises(ClientError, match="AccessDenied"):
                gateway.client("iam").create_user(UserName="u")
        gateway.client("dynamodb").list_tables()
    assert len(upstream.requests) == 1


def start(home: Home, form: str = "serve", **environ: str) -> subprocess.CompletedProcess[str]:
    command = [
        part.replace("CONFIG", str(home.config)).replace("SCRIPT", str(ROOT / "addons" / "gateway.py"))
        for part in COMMANDS[form]
    ]
    import os

    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environ},
        cwd=home.folder,
    )


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda home: home.config.unlink(), "callgate.toml"),
        (lambda home: home.config.write_text("state = "), "callgate.toml"),
        (lambda home: home.config.write_text(home.config.read_text() + "\n[nonsense]\nx = 1\n"), "nonsense"),
        (lambda home: home.rules('[[rule]]\nid = "a"\neffect = "allow"\nactoin = ["*:*"]\n'), "actoin"),
        (lambda home: (home.folder / "state/keys/ledger.key").chmod(0o644), "ledger.key"),
        (lambda home: (home.folder / "state/ca/mitmproxy-ca.pem").chmod(0o640), "mitmproxy-ca.pem"),
        (lambda home: (home.folder / "state/keys/mask.key").chmod(0o604), "mask.key"),
        (lambda home: (home.folder / "state/keys").chmod(0o770), "keys"),
        (lambda home: (home.folder / "state").chmod(0o707), "state"),
        (lambda home: (home.folder / "rules").chmod(0o777), "rules"),
        (lambda home: home.config.chmod(0o666), "callgate.toml"),
        (lambda home: (home.folder / "state/keys/mask.key").unlink(), "mask.key"),
        (lambda home: (home.folder / "state/ledger.db").mkdir(), "ledger.db"),
        (lambda home: shutil.rmtree(home.folder / "state"), "state"),
    ],
    ids=[
        "missing",
        "not-toml",
        "unknown-key",
        "bad-rule",
        "loose-ledger-key",
        "loose-ca",
        "loose-mask-key",
        "open-keys",
        "open-state",
        "open-rules",
        "open-configuration",
        "no-mask-key",
        "ledger-unwritable",
        "no-state",
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(
    harm: Any, says: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    home = make_home(folder)
    harm(home)
    # Both forms read everything in one place; that mitmdump ends like this is seen from a few.
    few = request.node.callspec.id in ("missing", "bad-rule", "ledger-unwritable")
    done = start(home, "mitmdump" if few else "serve")
    assert done.returncode == 2, done.stderr + done.stdout
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("callgate:")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in done.stderr + done.stdout


def test_a_port_in_use_is_said_with_its_key(folder: Path) -> None:
    home = make_home(folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = start(home, CALLGATE_PROXY__LISTEN=f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2
    said = done.stderr.strip()
    assert said.startswith("callgate: proxy.listen: cannot listen on 127.0.0.1:")
    assert said.endswith(": Address already in use")
    assert "\n" not in said


def test_a_state_folder_that_another_gateway_holds_is_refused(folder: Path) -> None:
    home = make_home(folder)
    with running(home) as gateway:
        done = start(home)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert gateway.process.poll() is None


@pytest.mark.parametrize(
    "option",
    [
        "ignore_hosts=.*",
        "allow_hosts=x",
        "tcp_hosts=.*",
        "ssl_insecure=true",
        "stream_large_bodies=1",
        "save_stream_file=/tmp/x",
        "map_remote=|a|b",
        "modify_body=/a/b",
        "modify_headers=/a/b",
        "hardump=/tmp/x",
        "flow_detail=2",
        "mode=transparent",
        "body_size_limit=1m",
        "validate_inbound_headers=false",
    ],
)
def test_unsafe_options_refuse_to_start(option: str, folder: Path) -> None:
    home = make_home(folder)
    done = subprocess.run(
        [
            str(BIN / "mitmdump"),
            "-s",
            str(ROOT / "addons" / "gateway.py"),
            "--set",
            f"callgate_config={home.config}",
            "--set",
            option,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert option.partition("=")[0] in done.stderr


def test_a_foreign_script_with_a_flow_hook_refuses_to_start(folder: Path, tmp_path: Path) -> None:
    home = make_home(folder)
    (tmp_path / "other.py").write_text("def response(flow):\n    pass\n")
    done = subprocess.run(
        [
            str(BIN / "mitmdump"),
            "-s",
            str(ROOT / "addons" / "gateway.py"),
            "-s",
            str(tmp_path / "other.py"),
            "--set",
            f"callgate_config={home.config}",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "other.py" in done.stderr


def test_init_leaves_what_is_there_and_keeps_keys_private(folder: Path) -> None:
    home = make_home(folder)
    before = {path: path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file()}
    done = subprocess.run(
        [str(BIN / "callgate"), "init", str(folder)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0
    assert "HTTPS_PROXY" in done.stdout
    assert {path: path.read_bytes() for path in before} == before
    assert "allow-all" in (home.folder / "rules" / "test.toml").read_text()
    for path in (folder / "state" / "keys").iterdir():
        if path.suffix != ".pub":
            assert path.stat().st_mode & 0o077 == 0
    assert (folder / "state" / "ca" / "mitmproxy-ca.pem").stat().st_mode & 0o077 == 0


def test_sigterm_lets_a_running_call_end_and_signs_the_head(folder: Path) -> None:
    import threading

    from support.upstream import http_answer, recorder

    waiting, go = threading.Event(), threading.Event()

    def slow(_: bytes) -> bytes:
        waiting.set()
        assert go.wait(20)
        return http_answer(body=b'{"TableNames": ["t"]}')

    with recorder(slow) as upstream, running(make_home(folder, endpoint=upstream.url)) as gateway:
        seen: list[Any] = []
        client = gateway.client("dynamodb")
        running_call = threading.Thread(target=lambda: seen.append(client.list_tables()["TableNames"]))
        running_call.start()
        assert waiting.wait(20)
        gateway.process.terminate()
        wait_for(lambda: refused(gateway), 10, "the refusal of a new call")
        go.set()
        running_call.join(20)
        assert gateway.process.wait(20) == 0
        assert seen == [["t"]]
        kinds = [entry["kind"] for entry in gateway.entries()]
        assert kinds[-1] == "gateway.stopped"
        assert kinds.count("call.outcome") == 1


def refused(gateway: Gateway) -> bool:
    try:
        with urllib.request.urlopen(f"http://{gateway.proxy}/callgate/health") as answer:
            return answer.status != 200
    except urllib.error.HTTPError as error:
        return error.code == 503 and json.loads(error.read())["reason"] == "stopping"


class Harmless:
    """An addon without flow hooks."""


class Foreign:
    """One that sees flows."""

    def request(self, flow: Any) -> None:
        """Never called here."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mitmproxy's, of a library it uses
def test_an_addon_is_seen_where_one_that_is_gone_had_its_identity() -> None:
    from callgate.serve.options import AddonWatch

    addons = SimpleNamespace(chain=[], lookup={})
    watch = AddonWatch(addons)  # type: ignore[arg-type]
    for _ in range(20):
        addons.chain.append(Harmless())
        assert watch() is None
        addons.chain.clear()  # frees its memory for the next
        addons.chain.append(Foreign())
        assert "Foreign" in (watch() or "")
        addons.chain.clear()
