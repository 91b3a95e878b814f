"""boto3, the AWS CLI, curl and Node, unmodified, under the runner, over a TLS proxy port of a gateway."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from callgate.runner.gateway import Gateway as Portal
from local_issuer import github_claims
from support.gateway import ACCESS_KEY, BIN, Gateway, make_home, running, wait_for
from support.upstream import http_answer, recorder

RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]

[[rule]]
id = "no-users"
effect = "deny"
reason = "Workloads use roles."
action = ["iam:CreateUser"]

[[rule]]
id = "delete-bucket"
effect = "hold"
reason = "Deleting takes a person."
action = ["s3:DeleteBucket"]
hold = { by = ["oncall"], within = "30s" }
"""


@pytest.fixture(scope="module")
def gateway(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("clients") / "gate", endpoint=moto, rules=RULES)
    with running(home) as started:
        yield started


@pytest.fixture(scope="module")
def kept_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose upstream, unlike moto, keeps its connections."""
    with recorder(http_answer(body=b"<GetCallerIdentityResponse/>")) as upstream:
        home = make_home(tmp_path_factory.mktemp("kept") / "gate", endpoint=upstream.url)
        with running(home) as started:
            yield started


@pytest.fixture
def environ(gateway: Gateway) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "CALLGATE_GATEWAY": f"https://localhost:{gateway.address[1]}",
        "CALLGATE_CA": str(gateway.home.ca),
        "CALLGATE_TOKEN": gateway.home.token(),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }


def run(runner: str, environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, runner, "run", "--", *command]
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=100)


BOTO3 = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
# What the AWS SDK for JavaScript v3 does below its commands: an agent of its own, kept alive.
NODE_AGENT = """
const https = require('https')
const agent = new https.Agent({ keepAlive: true, maxSockets: 50 })
const body = 'Action=GetCallerIdentity&Version=2011-06-15'
const headers = {
  'content-type': 'application/x-www-form-urlencoded',
  authorization: 'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/sts/aws4_request, ' +
    'SignedHeaders=host;x-amz-date, Signature=' + '0'.repeat(64),
  'x-amz-date': '20260101T000000Z'
}
const options = { host: 'sts.us-east-1.amazonaws.com', method: 'POST', agent, headers }
function call (then) {
  const request = https.request(options, (answer) => {
    let text = ''
    answer.on('data', (chunk) => { text += chunk })
    answer.on('end', () => setImmediate(then, answer.statusCode, text))
  })
  request.end(body)
}
call((status, text) => call((again) => {
  console.log(status, again, /<Account>(\\d+)/.exec(text)[1])
  agent.destroy()
}))
"""
NODE_SDK = """
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts')
const { IAMClient, CreateUserCommand } = require('@aws-sdk/client-iam')
async function main () {
  console.log((await new STSClient({}).send(new GetCallerIdentityCommand({}))).Account)
  const create = new CreateUserCommand({ UserName: 'x' })
  const refused = await new IAMClient({}).send(create).catch((error) => error)
  console.log(refused.name, refused.message.includes('Workloads use roles'))
}
main()
"""


def test_boto3(runner: str, environ: dict[str, str]) -> None:
    done = run(runner, environ, sys.executable, "-c", BOTO3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "123456789012\n", "")


def test_the_aws_cli(runner: str, environ: dict[str, str]) -> None:
    done = run(runner, environ, str(BIN / "aws"), "sts", "get-caller-identity", "--query", "Account")
    assert (done.returncode, done.stdout, done.stderr) == (0, '"123456789012"\n', "")


def test_curl(runner: str, environ: dict[str, str]) -> None:
    signed = ["--aws-sigv4", "aws:amz:us-east-1:sts", "--user", f"{ACCESS_KEY}:secret"]
    body = ["-d", "Action=GetCallerIdentity&Version=2011-06-15", "https://sts.us-east-1.amazonaws.com/"]
    done = run(runner, environ, "curl", "-sS", *signed, *body)
    assert done.returncode == 0, done.stderr
    assert "<Account>123456789012</Account>" in done.stdout


def test_node_with_agents_as_the_sdk_makes_them(runner: str, environ: dict[str, str]) -> None:
    done = run(runner, environ, "node", "-e", NODE_AGENT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "200 200 123456789012\n", "")


def test_node_keeps_its_connections(runner: str, environ: dict[str, str], kept_open: Gateway) -> None:
    there = {
        "CALLGATE_GATEWAY": f"https://localhost:{kept_open.address[1]}",
        "CALLGATE_CA": str(kept_open.home.ca),
        "CALLGATE_TOKEN": kept_open.home.token(),
    }
    script = NODE_AGENT.replace("call((again)", "call((again, _, reused)").replace("again, /<", "reused, /<")
    script = script.replace("answer.statusCode, text)", "answer.statusCode, text, request.reusedSocket)")
    done = run(runner, {**environ, **there}, "node", "-e", script.replace("[1])", ")"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "200 true null\n", "")


def test_node_over_a_plain_proxy_port_on_the_loopback(
    runner: str, environ: dict[str, str], gateway: Gateway
) -> None:
    plain = {"CALLGATE_GATEWAY": f"http://127.0.0.1:{gateway.address[1]}"}
    done = run(runner, {**environ, **plain}, "node", "-e", NODE_AGENT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "200 200 123456789012\n", "")


def test_node_tells_when_the_gateway_refuses_the_tunnel(runner: str, environ: dict[str, str]) -> None:
    script = "require('https').get('https://127.0.0.2/').on('error', (error) => console.log(error.message))"
    done = run(runner, environ, "node", "-e", script)
    assert "the proxy answered 4" in done.stdout
    assert "CONNECT 127.0.0.2:443" in done.stdout


def test_node_goes_directly_to_hosts_in_no_proxy(runner: str, environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://localhost:{server.getsockname()[1]}/"
        script = f"require('https').get('{url}').on('error', () => {{}})"
        with subprocess.Popen(
            [sys.executable, runner, "run", "--", "node", "-e", script],
            env=environ,
            stdout=subprocess.DEVNULL,
        ) as process:
            connection, _ = server.accept()
            assert connection.recv(1) == b"\x16"  # a TLS handshake, not CONNECT
            connection.close()
            assert process.wait(30) == 0


@pytest.mark.full
def test_the_aws_sdk_for_javascript(runner: str, environ: dict[str, str], tmp_path: Path) -> None:
    npm = shutil.which("npm")
    assert npm
    install = [npm, "install", "--no-audit", "--no-fund", "@aws-sdk/client-sts@3", "@aws-sdk/client-iam@3"]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True, timeout=110)
    (tmp_path / "main.js").write_text(NODE_SDK)
    done = run(runner, environ, "node", "--no-warnings", str(tmp_path / "main.js"))
    assert done.stdout == "123456789012\nAccessDenied true\n", done.stderr


def test_refusals_are_summarised_for_people_and_for_github(
    runner: str, environ: dict[str, str], tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    command = [str(BIN / "aws"), "iam", "create-user", "--user-name", "x"]
    done = run(runner, {**environ, "GITHUB_STEP_SUMMARY": str(summary)}, *command)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("callgate: ")]
    assert lines[0] == "callgate: 1 call was refused in this run:"
    assert "CreateUser" in lines[1]
    assert "rule-deny: Rule 'no-users': Workloads use roles." in lines[1]
    assert "| CreateUser | " in summary.read_text()


def test_a_session_is_listed_shown_and_revoked(
    runner: str, environ: dict[str, str], gateway: Gateway
) -> None:
    script = (
        f"{BIN}/aws iam create-user --user-name x; {BIN}/aws sts get-caller-identity; echo done; read line"
    )
    with subprocess.Popen(
        [sys.executable, runner, "run", "--", "sh", "-c", script],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "done" not in process.stdout.readline():
            pass
        (open_,) = json.loads(gateway.callgate("sessions", "list", "--json").stdout)
        session = open_["sessionId"]
        assert open_["unverifiedContext"]["command"][:2] == ["sh", "-c"]
        assert session in gateway.callgate("sessions", "list").stdout
        gateway.callgate("sessions", "revoke", session)
        assert json.loads(gateway.callgate("sessions", "list", "--json").stdout) == []
        process.communicate("\n", timeout=30)
    shown = gateway.callgate("sessions", "show", session).stdout
    assert [
        word in shown for word in ("iam:CreateUser", "denied", "sts:GetCallerIdentity", "allowed", "revoked")
    ]
    record = json.loads(gateway.callgate("sessions", "show", session, "--json").stdout)
    calls = [(call["eventName"], call["verdict"]) for call in record["calls"]]
    assert calls == [("CreateUser", "denied"), ("GetCallerIdentity", "allowed")]
    kinds = [event["kind"] for event in record["events"]]
    assert kinds == ["session.opened", "session.revoked"]
    missing = gateway.callgate("sessions", "show", "ses-none", check=False)
    assert (missing.returncode, missing.stderr) == (1, "callgate: the ledger knows no session ses-none\n")
    again = gateway.callgate("sessions", "revoke", session, check=False)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1


class Tunnel:
    """A kept connection to STS through the gateway."""

    def __init__(self, gateway: Gateway, handle: str) -> None:
        trust = ssl.create_default_context(cafile=gateway.home.ca)
        raw = socket.create_connection(gateway.address, timeout=20)
        raw.sendall(
            b"CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: sts.us-east-1.amazonaws.com:443\r\n"
            b"Proxy-Authorization: Bearer " + handle.encode() + b"\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        self.stream = trust.wrap_socket(raw, server_hostname="sts.us-east-1.amazonaws.com")

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def call(self) -> tuple[int, bytes]:
        """Status and body of the answer to one GetCallerIdentity on this connection."""
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        scope = f"{ACCESS_KEY}/20260101/us-east-1/sts/aws4_request"
        head = (
            "POST / HTTP/1.1\r\nHost: sts.us-east-1.amazonaws.com\r\nX-Amz-Date: 20260101T000000Z\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={scope}, "
            f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}\r\n\r\n"
        )
        self.stream.sendall(head.encode() + body)
        response = http.client.HTTPResponse(self.stream)
        response.begin()
        return response.status, response.read()


def test_revoking_cuts_an_open_connection_within_a_second(kept_open: Gateway) -> None:
    gateway = kept_open
    portal = Portal("http://{}:{}".format(*gateway.address))
    answer = portal.open_session(gateway.home.token(), {})
    with Tunnel(gateway, answer["access_token"]) as tunnel:
        assert [tunnel.call()[0], tunnel.call()[0]] == [200, 200]  # it is kept open
        gateway.callgate("sessions", "revoke", answer["callgate_session"])
        tunnel.stream.settimeout(1)
        assert tunnel.stream.recv(4096) == b""


def test_a_closed_session_refuses_the_next_request_on_its_connection(kept_open: Gateway) -> None:
    gateway = kept_open
    portal = Portal("http://{}:{}".format(*gateway.address))
    handle = portal.open_session(gateway.home.token(), {})["access_token"]
    with Tunnel(gateway, handle) as tunnel:
        portal.close_session(handle)
        status, body = tunnel.call()
        assert (status, b"session-closed" in body or b"The session was closed" in body) == (403, True)


def test_a_held_call_of_a_revoked_session_is_not_released(
    gateway: Gateway, environ: dict[str, str], runner: str
) -> None:
    bucket = "held-" + os.urandom(4).hex()
    assert (
        run(runner, environ, str(BIN / "aws"), "s3api", "create-bucket", "--bucket", bucket).returncode == 0
    )
    with subprocess.Popen(
        [sys.executable, runner, "run", "--", str(BIN / "aws"), "s3api", "delete-bucket", "--bucket", bucket],
        env={**environ, "AWS_MAX_ATTEMPTS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        hold = wait_for(lambda: gateway.entries("hold.opened"), 20, "the hold")[-1]
        session = gateway.entries("session.opened")[-1]["sessionId"]
        gateway.callgate("sessions", "revoke", session)
        holds = json.loads(gateway.callgate("approvals", "list", "--json").stdout)
        for each in holds:
            gateway.callgate("approvals", "approve", each["id"], "-r", "fine", check=False)
        process.communicate(timeout=60)
        assert process.returncode != 0
    deletes = [each for each in gateway.entries("call.intent") if each["eventName"] == "DeleteBucket"]
    assert deletes == []
    assert hold


def test_a_job_outlives_its_tokens(gateway: Gateway, environ: dict[str, str], runner: str) -> None:
    """Tokens that live four seconds, from a token service like GitHub's, under a job that calls for seven."""
    given: list[str] = []

    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            claims = github_claims(jti=os.urandom(8).hex())
            given.append(gateway.home.key.token({**claims, "exp": claims["iat"] + 4}))
            body = json.dumps({"value": given[-1]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    script = (
        "import boto3, time\n"
        "sts, end = boto3.client('sts'), time.monotonic() + 7\n"
        "count = 0\n"
        "while time.monotonic() < end:\n"
        "    sts.get_caller_identity(); count += 1; time.sleep(0.2)\n"
        "print(count)"
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        job = {
            **environ,
            "CALLGATE_TOKEN": "",
            "CALLGATE_AUDIENCE": "callgate",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{service.server_address[1]}/token?v=1",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runtime",
        }
        done = run(runner, job, sys.executable, "-c", script)
        service.shutdown()
        thread.join()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout) > 10
    assert len(given) >= 3
    session = gateway.entries("session.closed")[-1]["sessionId"]
    renewed = [each for each in gateway.entries("session.renewed") if each["sessionId"] == session]
    assert len(renewed) == len(given) - 1
