"""Properties: only the masked paths change, and what is damaged is refused."""

import json
import random
from typing import Any
from unittest import mock

import jsonpath_ng.ext
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from mask_helpers import KEY, answer, make_call, mask
from synthetic import response_of, value_of

from callgate.aws import service_model
from callgate.call import Call, HttpResponse, Refusal
from callgate.decision import Mask
from callgate.masking import json_spans, stream_masker
from callgate.masking.eventstream import Message

WEB = Call(service="http", operation="GET", candidates=(("http", "GET"),), protocol="http", region=None)
NAMES = st.sampled_from(["a", "b", "c", "Name", 'x"y', "é", "long name"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20)
DOCUMENTS = st.lists(VALUES) | st.dictionaries(NAMES, VALUES)
PATHS = [
    "$.a", "$..a", "$.a.b", "$.a[*].b", "$..b[0]", "$.*", "$.a[1:3]", "$..c[*]", '$.a[?(@.Name=="s")].b',
    '$..["a","b"]', "$.b..c", "$.a.*.b",
]  # fmt: skip


def fixed(value: Any) -> Any:
    match value:
        case None:
            return None
        case bool():
            return False
        case int() | float():
            return 0
        case str():
            return "***"
    return type(value)()


def steps(path: Any) -> list[Any]:
    """The steps of a concrete path of jsonpath-ng."""
    match type(path).__name__:
        case "Child":
            return steps(path.left) + steps(path.right)
        case "Fields":
            return [path.fields[0]]
        case "Index":
            return [path.indices[0]]
    return []


def reference(document: Any, path: str) -> Any:
    """`document` as jsonpath-ng says that it should be masked."""
    document = json.loads(json.dumps(document))
    gone: set[tuple[Any, ...]] = set()
    for found in sorted(
        (steps(each.full_path) for each in jsonpath_ng.ext.parse(path).find(document)), key=len
    ):
        if not found or any(tuple(found[:length]) in gone for length in range(len(found))):
            continue
        holder = document
        for step in found[:-1]:
            holder = holder[step]
        holder[found[-1]] = fixed(holder[found[-1]])
        gone.add(tuple(found))
    return document


@given(DOCUMENTS, st.sampled_from(PATHS), st.sampled_from([None, 1]), st.booleans())
def test_only_what_a_path_reaches_changes(
    document: Any, path: str, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if ascii_only or not any("\ud800" <= sign <= "\udfff" for sign in text.decode("utf-8", "surrogatepass")):
        assert json.loads(mask(WEB, answer(text), path).response.body) == reference(document, path)


@given(
    st.lists(DOCUMENTS, min_size=1, max_size=3), st.sampled_from(PATHS), st.integers(0, 40), st.integers(1, 3)
)
def test_how_far_is_looked_ahead_changes_nothing(items: list[Any], path: str, far: int, tries: int) -> None:
    document = {"a": items * 3, "b": items, "d": [{"c": items}] * 2}
    with mock.patch.multiple(json_spans, NEAR=0, FAR=far, TRIES=tries):
        text = mask(WEB, answer(json.dumps(document)), path).response.body
    assert json.loads(text) == reference(document, path)


@given(DOCUMENTS, st.sampled_from(PATHS), st.sampled_from([None, 1]))
def test_dropping_leaves_well_formed_json(document: Any, path: str, indent: int | None) -> None:
    text = json.dumps(document, indent=indent)
    json.loads(mask(WEB, answer(text), path, how="drop").response.body)


ANYWHERE = ["$..*", "$..[?(@.Name=='canary')]", "$.*[?(@.Key=='canary')].Value"]


def corrupted(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(damaged) or 1)
        match chance.randint(0, 3):
            case 0 if damaged:
                damaged[at] = chance.randrange(256)
            case 1:
                del damaged[at : at + chance.randint(1, 5)]
            case 2:
                damaged[at:at] = chance.randbytes(chance.randint(1, 3))
            case _:
                del damaged[at:]
    return bytes(damaged)


@pytest.mark.parametrize(
    ("service", "operation", "protocol"),
    [
        ("secretsmanager", "GetSecretValue", "json"),
        ("iam", "CreateAccessKey", "query"),
        ("cloudwatch", "DescribeAlarms", "smithy-rpc-v2-cbor"),
        ("s3", "GetBucketAcl", "rest-xml"),
        ("lambda", "GetFunction", "rest-json"),
        ("ec2", "DescribeInstances", "ec2"),
    ],
)
def test_damaged_answers_are_read_whole_or_refused(service: str, operation: str, protocol: str) -> None:
    chance = random.Random(operation)
    model = service_model(service).operation_model(operation)
    body = response_of(model, protocol, value_of(model.output_shape)).body
    refused: list[Refusal] = []
    for _ in range(300):
        response = HttpResponse(chance.choice([200, 400]), (), corrupted(body, chance))
        try:
            mask(make_call(service, operation, protocol), response, chance.choice(ANYWHERE))
        except Refusal as refusal:
            refused.append(refusal)
    assert len(refused) > 100
    assert {refusal.status for refusal in refused} == {502}
    assert not any("canary" in str(refusal) for refusal in refused)


STREAM_HEAD = (("Content-Type", "application/vnd.amazon.eventstream"),)
CONVERSE = make_call("bedrock-runtime", "ConverseStream")
DELTAS = [Mask("r", ("$..text", "$..message"))]


def event(name: str, body: dict[str, Any], kind: str = "event") -> bytes:
    headers = ((f":{kind}-type", 7, name.encode()), (":message-type", 7, kind.encode()))
    return Message(headers, json.dumps(body).encode()).encode()


STREAM = (
    event("messageStart", {"role": "assistant"})
    + event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "canary"}})
    + event("throttlingException", {"message": "canary"}, "exception")
    + event("brandNew", {"text": "canary"})
)


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.case("F02")
def test_event_streams_are_masked_message_by_message(size: int) -> None:
    masker = stream_masker(DELTAS, CONVERSE, 200, STREAM_HEAD, key=KEY)
    assert masker is not None
    out = (
        b"".join(masker.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size)) + masker.finish()
    )
    buffer = EventStreamBuffer()
    buffer.add_data(out)
    payloads = [json.loads(message.payload) for message in buffer]
    assert payloads[0] == {"role": "assistant"}
    assert payloads[1] == {"contentBlockIndex": 0, "delta": {"text": "***"}}
    assert payloads[2:] == [{"message": "***"}, {"text": "***"}]
    assert masker.masked == ("$.delta.text", "$.message", "$.text")


def test_damaged_event_streams_are_refused_and_leak_nothing() -> None:
    chance = random.Random(7)
    statuses = set()
    for _ in range(300):
        masker = stream_masker(DELTAS, CONVERSE, 200, STREAM_HEAD, key=KEY)
        assert masker is not None
        try:
            out = masker.feed(corrupted(STREAM, chance)) + masker.finish()
        except Refusal as refusal:
            statuses.add(refusal.status)
        else:
            assert b"canary" not in out
    assert statuses == {502}


@pytest.mark.parametrize("kind", ["text/event-stream", "text/event-stream; charset=utf-8"])
@pytest.mark.case("F02")
def test_streams_of_another_kind_are_refused_at_their_head(kind: str) -> None:
    with pytest.raises(Refusal, match="mask-stream"):
        stream_masker(DELTAS, make_call("kms", "Decrypt"), 200, (("Content-Type", kind),), key=KEY)


@pytest.mark.parametrize("terms", [{"detect": ("no-such-pattern",)}, {"how": "fixed"}])
def test_masks_that_cannot_be_put_on_are_refused(terms: dict[str, Any]) -> None:
    path = "$.A[-1]" if "how" in terms else "$.A"
    with pytest.raises(Refusal, match="mask-unsupported"):
        mask(make_call("kms", "Decrypt"), answer("{}"), path, **terms)
