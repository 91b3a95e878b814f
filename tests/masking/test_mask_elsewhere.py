"""JSON of inspected hosts outside AWS, bodies that no mask reaches, and masks that no rule may ask for."""

import gzip
import json
from pathlib import Path

import brotli
import pytest
import zstandard
from click.testing import CliRunner
from mask_helpers import KEY, answer, make_call, mask, masks_of

from callgate.call import Call, HttpResponse, Refusal
from callgate.cli.rules import rules
from callgate.masking import mask_head
from callgate.policy import RuleError
from callgate.serve.rules_file import RulesInForce

WEB = Call(service="http", operation="GET", candidates=(("http", "GET"),), protocol="http", region=None)
BODY = b'{"token": "canary", "count": 1.0}'
MASKED = b'{"token": "***", "count": 1.0}'
CODINGS = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("coding", CODINGS)
def test_json_from_elsewhere_is_masked_in_every_coding(coding: str) -> None:
    result = mask(WEB, answer(CODINGS[coding](BODY), ("Content-Encoding", coding)), "$.token")
    assert result.response.body == MASKED
    assert result.response.headers == (("Content-Length", str(len(MASKED))),)
    assert result.masked == ("$.token",)


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (answer(gzip.compress(BODY)[:-4], ("Content-Encoding", "gzip")), "mask-coding"),
        (answer(BODY, ("Content-Encoding", "compress")), "mask-coding"),
        (HttpResponse(200, (("Content-Length", "99"),), BODY), "mask-truncated"),
        (answer(b"12", status=206), "mask-partial"),
        (answer("<html>canary</html>"), "mask-unreadable"),
        (answer(BODY.decode().encode("utf-16")), "mask-unreadable"),
        (answer(b"data: canary\n\n", ("Content-Type", "text/event-stream")), "mask-stream"),
    ],
)
def test_what_cannot_be_read_from_elsewhere_is_refused(response: HttpResponse, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        mask(WEB, response, "$.token")
    assert (refused.value.status, refused.value.code) == (502, code)


def test_answers_without_a_body_pass_from_elsewhere() -> None:
    no_content = HttpResponse(204, (), b"")
    head = HttpResponse(200, (("Content-Length", "99"),), b"")
    assert mask(WEB, no_content, "$.token").response == no_content
    assert mask(WEB, head, "$.token", method="HEAD").response == head


def test_patterns_are_sought_in_headers_from_elsewhere() -> None:
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    result = mask(WEB, answer(BODY, ("Set-Cookie", f"session={jwt}; Secure")), detect=("jwt",))
    assert ("Set-Cookie", "session=***; Secure") in result.response.headers
    assert result.masked == ("header set-cookie",)


def test_a_body_that_no_mask_reaches_need_not_be_read() -> None:
    call = make_call("s3", "GetObject")
    headers = (("x-amz-meta-owner", "canary"), ("Content-Length", "5000000"), ("Content-Encoding", "odd"))
    for paths, terms in (
        (("$.Metadata",), {}),
        (("$..Metadata",), {}),
        (("$.Metadata",), {"sensitive": True}),
    ):
        found = mask_head(masks_of(*paths, **terms), call, 206, headers, key=KEY)
        assert found == (headers[1:], ("$.Metadata",))


@pytest.mark.parametrize(
    ("service", "operation", "status", "paths", "terms"),
    [
        ("s3", "GetObject", 200, ("$.Body",), {}),
        ("s3", "GetObject", 200, ("$..*",), {}),
        ("s3", "GetObject", 200, ("$",), {}),
        ("s3", "GetObject", 200, ("$.ETag",), {"detect": ("jwt",)}),
        ("s3", "GetObject", 403, ("$.ETag",), {}),
        ("s3", "ListObjectsV2", 200, ("$..ETag",), {}),
        ("lambda", "GetFunction", 200, (), {"sensitive": True}),
    ],
)
def test_a_body_that_a_mask_may_reach_is_read(
    service: str, operation: str, status: int, paths: tuple[str, ...], terms: dict[str, object]
) -> None:
    assert mask_head(masks_of(*paths, **terms), make_call(service, operation), status, (), key=KEY) is None


MISTAKES = [
    ("response = ['$..Key[-1]']", "response", "Index"),
    ("response = ['$.Name.`sub(/a/, b)`']", "response", "cannot be used"),
    ("response = ['$.Secret.$.String']", "response", "Child"),
    ("response = ['$.Secret']\ninside = '$[-1]'", "inside", "Index"),
    ('detect = ["jwt", "no-such-pattern"]', "detect", "'no-such-pattern' is no pattern"),
]


@pytest.mark.parametrize(("says", "key", "message"), MISTAKES)
def test_a_mask_that_cannot_be_put_on_is_refused_when_its_rule_loads(
    tmp_path: Path, says: str, key: str, message: str
) -> None:
    file = tmp_path / "masks.toml"
    file.write_text(f'[[rule]]\nid = "m"\neffect = "mask"\naction = ["*:*"]\n{says}\n')
    checked = CliRunner().invoke(rules, ["check", "--json", str(tmp_path)])
    assert checked.exit_code == 2
    error = json.loads(checked.stdout)["errors"][0]
    assert (error["file"], error["rule"], error["key"]) == (str(file), "m", key)
    assert message in error["message"]
    with pytest.raises(RuleError, match=f"masks.toml:[56]: rule 'm': {key}: "):
        RulesInForce([tmp_path])


@pytest.mark.parametrize("body", ['[{"SecretString": "canary"}]', '"canary"', "null"])
def test_an_answer_that_is_no_object_where_the_model_has_one_is_refused(body: str) -> None:
    with pytest.raises(Refusal, match="mask-unreadable"):
        mask(make_call("secretsmanager", "GetSecretValue"), answer(body), "$.SecretString")


def test_cbor_that_is_no_map_where_the_model_has_a_structure_is_refused() -> None:
    listed = b"\x81\xa1\x69NextToken\x66canary"
    with pytest.raises(Refusal, match="mask-unreadable"):
        mask(make_call("cloudwatch", "DescribeAlarms", "smithy-rpc-v2-cbor"), answer(listed), "$.NextToken")
