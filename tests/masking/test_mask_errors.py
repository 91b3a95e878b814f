"""Messages of errors masked wherever an answer repeats them."""

import itertools
import json

import pytest
from mask_helpers import KEY, answer, json_body, make_call, mask, masks_of

from callgate.call import HttpResponse, Refusal
from callgate.masking import stream_masker
from callgate.masking.eventstream import Message, decode

SECRET = make_call("secretsmanager", "GetSecretValue")
BODY = '{"__type":"ResourceNotFoundException","Message":"canary"}'
REPEATED = ["x-amzn-ErrorMessage", "x-amzn-error-message", "x-amz-error-message", "x-amz-error-detail-Key"]


def test_errors_are_masked_whatever_the_case_of_their_members() -> None:
    call = make_call("secretsmanager", "GetSecretValue")
    for path, key in itertools.product(("$.Message", "$.message"), ("Message", "message", "MESSAGE")):
        for error in ("ResourceNotFoundException", "NobodyKnows"):
            body = json.dumps({"__type": error, key: "canary"})
            assert json_body(mask(call, answer(body, status=400), path).response) == {
                "__type": error,
                key: "***",
            }
    listed = answer('[{"message":"canary"}]', status=400)
    assert json_body(mask(call, listed, "$.message").response) == [{"message": "***"}]


@pytest.mark.parametrize("header", REPEATED)
@pytest.mark.parametrize("how", ["fixed", "drop", "hash"])
def test_headers_that_repeat_the_message_are_masked_with_it(header: str, how: str) -> None:
    said = ((header, "canary"), ("x-amzn-errortype", "ResourceNotFoundException"))
    for path in ("$.Message", "$.message", "$..message", "$.*"):
        result = mask(SECRET, answer(BODY, *said, status=400), path, how=how)
        assert "canary" not in str(result.response)
        assert said[1] in result.response.headers
        assert f"header {header.lower()}" in result.masked
    assert mask(SECRET, answer(BODY, *said, status=400), "$.SecretString").response.headers[:2] == said


def test_the_message_of_an_answer_without_a_body_is_masked_in_its_head() -> None:
    head = HttpResponse(404, (("x-amz-error-message", "canary"),), b"")
    masked = mask(make_call("s3", "HeadObject"), head, "$.Message", method="HEAD").response
    assert masked.headers == (("x-amz-error-message", "***"),)


@pytest.mark.parametrize(
    "body",
    [
        "<Error><Code>C</Code><Message>canary</Message></Error>",
        "<ErrorResponse><Error><Code>C</Code><Message>canary</Message></Error></ErrorResponse>",
        "<Response><Errors><Error><Code>C</Code><Message>canary</Message></Error></Errors></Response>",
        "<AccessDeniedException><Message>canary</Message></AccessDeniedException>",
        "<Response><x><Errors><Error><message>canary</message></Error></Errors></x></Response>",
        "<Response><Errors><Fault><Message>canary</Message></Fault></Errors></Response>",
        "<Error><Message><x>canary</x></Message></Error>",
    ],
)
def test_errors_in_xml_are_masked_in_any_wrapper(body: str) -> None:
    for service, operation in (("s3", "GetObject"), ("iam", "GetUser"), ("ec2", "DescribeInstances")):
        masked = mask(make_call(service, operation), answer(body, status=403), "$.Message").response.body
        assert b"canary" not in masked


STREAM_HEAD = (("Content-Type", "application/vnd.amazon.eventstream"),)
CONVERSE = make_call("bedrock-runtime", "ConverseStream")


def said_in_stream(paths: list[str], payload: dict[str, str], **headers: str) -> Message:
    """What becomes of one message of an event stream."""
    masker = stream_masker(masks_of(*paths), CONVERSE, 200, STREAM_HEAD, key=KEY)
    assert masker is not None
    pairs = tuple((":" + name.replace("_", "-"), 7, value.encode()) for name, value in headers.items())
    return decode(masker.feed(Message(pairs, json.dumps(payload).encode()).encode()) + masker.finish())


@pytest.mark.parametrize("path", ["$.Message", "$.message", "$..message"])
def test_errors_and_exceptions_of_event_streams_are_masked(path: str) -> None:
    error = said_in_stream([path], {}, message_type="error", error_code="C", error_message="canary")
    assert (error.text(":error-message"), error.text(":error-code")) == ("***", "C")
    for name in ("throttlingException", "brandNewException"):
        said = said_in_stream([path], {"message": "canary"}, message_type="exception", exception_type=name)
        assert said.payload == b'{"message": "***"}'


@pytest.mark.parametrize(
    "headers",
    [
        {"event_type": "contentBlockDelta"},
        {"message_type": "event", "exception_type": "throttlingException"},
        {"message_type": "exception", "event_type": "messageStart"},
        {"message_type": "odd", "odd_type": "messageStart"},
    ],
)
def test_messages_of_event_streams_whose_type_is_in_doubt_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refusal, match="mask-unreadable"):
        said_in_stream(["$.message"], {"message": "canary"}, **headers)


def test_a_header_of_an_event_that_comes_twice_is_refused() -> None:
    masker = stream_masker(masks_of("$.message"), CONVERSE, 200, STREAM_HEAD, key=KEY)
    assert masker is not None
    types = ((":message-type", 7, b"event"), (":event-type", 7, b"messageStart"))
    with pytest.raises(Refusal, match="mask-unreadable"):
        masker.feed(Message((*types, types[1]), b"{}").encode())
