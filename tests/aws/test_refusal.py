"""Refusals as real SDK clients read them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from callgate.aws.refusal import answer
from callgate.call import Call, HttpRequest, HttpResponse, Refusal

MESSAGE = "Rule 'no-\"prod\"' says <no> & asks for a person; see ünïcode ✋ ]]>"
DENY = Refusal("rule-deny", "a rule denies it")
PENDING = Refusal("hold-pending", "a person is being asked", retryable=True)
CALL_ID = "01J0000000000000000000CALL"


def call(service: str, protocol: str) -> Call:
    return Call(
        service=service,
        operation="Any",
        candidates=((service, "Any"),),
        protocol=protocol,
        region="eu-west-1",
    )


@contextmanager
def refusing(refusal: Refusal, understood: Call | None) -> Iterator[tuple[str, list[HttpRequest]]]:
    """A server on loopback that answers everything with `refusal`, and what it was asked."""
    seen: list[HttpRequest] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            request = HttpRequest(self.command, HOST["host"], self.path, tuple(self.headers.items()), body)
            seen.append(request)
            said = answer(request, understood, refusal, call_id=CALL_ID, message=MESSAGE)
            self.send_response_only(said.status)
            for name, value in said.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = any

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


HOST = {"host": "unset"}

HOSTS = {
    "s3": "b.s3.eu-west-1.amazonaws.com",
    "route53": "route53.amazonaws.com",
    "cloudfront": "cloudfront.amazonaws.com",
    "cloudwatch": "monitoring.eu-west-1.amazonaws.com",
}
CBOR = "smithy-rpc-v2-cbor"
# service, protocol, client method, its arguments, the code that the client shall see
CASES: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("dynamodb", "json", "list_tables", {}, "AccessDeniedException"),
    ("secretsmanager", "json", "list_secrets", {}, "AccessDeniedException"),
    ("sqs", "json", "list_queues", {}, "AccessDenied"),
    ("cloudwatch", CBOR, "list_metrics", {}, "AccessDenied"),
    ("cloudwatch", "json", "list_metrics", {}, "AccessDenied"),
    ("cloudwatch", "query", "list_metrics", {}, "AccessDenied"),
    ("arc-region-switch", CBOR, "list_plans", {}, "AccessDeniedException"),
    ("lambda", "rest-json", "list_functions", {}, "AccessDeniedException"),
    ("lambda", "rest-json", "invoke_with_response_stream", {"FunctionName": "f"}, "AccessDeniedException"),
    ("s3", "rest-xml", "get_object", {"Bucket": "b", "Key": "k"}, "AccessDenied"),
    ("s3", "rest-xml", "list_buckets", {}, "AccessDenied"),
    ("s3", "rest-xml", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}, "AccessDenied"),
    ("route53", "rest-xml", "list_hosted_zones", {}, "AccessDenied"),
    ("cloudfront", "rest-xml", "list_distributions", {}, "AccessDenied"),
    ("sts", "query", "get_caller_identity", {}, "AccessDenied"),
    ("rds", "query", "describe_db_instances", {}, "AccessDenied"),
    ("ec2", "ec2", "describe_vpcs", {}, "UnauthorizedOperation"),
]
IDS = [f"{service}-{protocol}-{method}" for service, protocol, method, _, _ in CASES]


@functools.cache
def session() -> boto3.Session:
    """One session, so that models are loaded once."""
    return boto3.Session(
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="secret", region_name="eu-west-1"
    )


def client(service: str, protocol: str, endpoint: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    # botocore has no option for the protocol: of those that a service model lists it takes the first.
    loader = session()._session.get_component("data_loader")
    model = loader.load_service_model(service, "service-2")
    model["metadata"] |= {"protocol": protocol, "protocols": [protocol]}
    if protocol == "json":
        model["metadata"].setdefault("jsonVersion", "1.0")
        model["metadata"].setdefault("targetPrefix", "GraniteServiceVersion20100801")
    monkeypatch.setattr("botocore.retryhandler._gen_sleep", lambda *_: 0, raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    config = Config(retries={"mode": mode}, s3={"addressing_style": "path"}, proxies={})
    return session().client(service, endpoint_url=endpoint, config=config)


@pytest.mark.parametrize("understood", [True, False], ids=["understood", "guessed"])
@pytest.mark.parametrize("mode", ["standard", "legacy"])
@pytest.mark.parametrize(("service", "protocol", "method", "arguments", "code"), CASES, ids=IDS)
def test_a_client_stops_at_one_request_and_reads_code_and_message(
    service: str,
    protocol: str,
    method: str,
    arguments: dict[str, Any],
    code: str,
    mode: str,
    understood: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(HOST, "host", HOSTS.get(service, f"{service}.eu-west-1.amazonaws.com"))
    with (
        refusing(DENY, call(service, protocol) if understood else None) as (endpoint, seen),
        pytest.raises(ClientError) as raised,
    ):
        getattr(client(service, protocol, endpoint, mode, monkeypatch), method)(**arguments)
    assert len(seen) == 1
    said = raised.value.response
    assert said["Error"]["Code"] == code
    assert said["Error"]["Message"] == MESSAGE
    metadata = said["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == 403
    assert metadata["RequestId"] == CALL_ID
    assert metadata["HTTPHeaders"]["x-callgate-call-id"] == CALL_ID
    assert metadata["HTTPHeaders"]["x-callgate-reason"] == "rule-deny"


@pytest.mark.parametrize(("mode", "attempts"), [("standard", 3), ("legacy", 5)])
@pytest.mark.parametrize(("service", "protocol", "method", "arguments", "_code"), CASES, ids=IDS)
def test_a_client_comes_back_by_itself_after_a_retryable_refusal(
    service: str,
    protocol: str,
    method: str,
    arguments: dict[str, Any],
    _code: str,
    mode: str,
    attempts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = {("dynamodb", "standard"): 4, ("dynamodb", "legacy"): 10}.get((service, mode), attempts)
    monkeypatch.setitem(HOST, "host", HOSTS.get(service, f"{service}.eu-west-1.amazonaws.com"))
    with (
        refusing(PENDING, call(service, protocol)) as (endpoint, seen),
        pytest.raises(ClientError) as raised,
    ):
        getattr(client(service, protocol, endpoint, mode, monkeypatch), method)(**arguments)
    assert len(seen) == attempts
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert raised.value.response["Error"]["Message"] == MESSAGE
    assert "hrottl" not in raised.value.response["Error"]["Code"]


@pytest.mark.parametrize(("refusal", "status"), [(DENY, 403), (PENDING, 503)], ids=["deny", "retryable"])
def test_a_head_request_gets_the_status_and_no_body(refusal: Refusal, status: int) -> None:
    request = HttpRequest("HEAD", "b.s3.eu-west-1.amazonaws.com", "/k", (), b"")
    said = answer(request, call("s3", "rest-xml"), refusal, call_id=CALL_ID, message=MESSAGE)
    assert (said.status, said.body, said.values("content-length")) == (status, b"", ["0"])
    assert said.values("x-callgate-call-id") == [CALL_ID]


def test_boto3_reads_a_refused_head_as_403(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HOST, "host", "s3.eu-west-1.amazonaws.com")
    with refusing(DENY, call("s3", "rest-xml")) as (endpoint, seen), pytest.raises(ClientError) as raised:
        client("s3", "rest-xml", endpoint, "standard", monkeypatch).head_object(Bucket="b", Key="k")
    assert len(seen) == 1
    assert raised.value.response["Error"]["Code"] == "403"


def refused(host: str, target: str = "/", **headers: str) -> HttpResponse:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    request = HttpRequest("POST", host, target, pairs, b"")
    return answer(request, None, DENY, call_id=CALL_ID, message=MESSAGE)


def test_a_docker_client_reads_the_refusal_of_a_registry() -> None:
    said = refused("111111111111.dkr.ecr.eu-west-1.amazonaws.com", "/v2/app/manifests/latest")
    assert said.body.startswith(b'{"errors": [{"code": "DENIED", "message": "Rule')


def test_a_cbor_client_is_never_answered_in_json() -> None:
    said = refused("monitoring.eu-west-1.amazonaws.com", smithy_protocol="rpc-v2-cbor")
    assert said.values("content-type") == ["application/cbor"]
    assert said.body[0] == 0xA2


def test_a_message_with_characters_that_xml_cannot_hold_stays_well_formed() -> None:
    request = HttpRequest("GET", "b.s3.amazonaws.com", "/k", (), b"")
    said = answer(request, None, DENY, call_id=CALL_ID, message="a\x00b\ud800c\x1b]")
    assert b"<Message>a\xef\xbf\xbdb\xef\xbf\xbdc\xef\xbf\xbd]</Message>" in said.body


def test_the_status_of_a_refusal_is_kept() -> None:
    request = HttpRequest("POST", "lambda.eu-west-1.amazonaws.com", "/", (), b"")
    too_large = Refusal("body-too-large", "the body is over the limit", status=413)
    assert answer(request, None, too_large, call_id=CALL_ID, message="too large").status == 413
