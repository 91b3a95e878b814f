"""What older SDKs send: protocols, URIs, host prefixes and queue paths that today's no longer use."""

from __future__ import annotations

from typing import Any

import pytest

from callgate import aws
from callgate.call import HttpRequest, Refusal

FORM = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)
QUEUE = "https://sqs.us-west-2.amazonaws.com/123456789012/q"


def sqs(body: str, target: str = "/") -> HttpRequest:
    return HttpRequest(
        "POST", "sqs.us-west-2.amazonaws.com", target, FORM, f"{body}&Version=2012-11-05".encode()
    )


@pytest.mark.parametrize(
    ("request_", "operation", "parameters"),
    [
        (
            sqs(
                "Action=SendMessageBatch&QueueUrl=https%3A%2F%2Fsqs.us-west-2.amazonaws.com%2F123456789012%2Fq"
                "&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=x+y"
                "&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n"
                "&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Binary"
                "&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.BinaryValue=AP8%3D"
            ),
            "SendMessageBatch",
            {
                "QueueUrl": QUEUE,
                "Entries": [
                    {
                        "Id": "a",
                        "MessageBody": "x y",
                        "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
                    }
                ],
            },
        ),
        (
            sqs(
                "Action=SetQueueAttributes&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5",
                "/123456789012/q",
            ),
            "SetQueueAttributes",
            {"QueueUrl": QUEUE, "Attributes": {"DelaySeconds": "5"}},
        ),
        (
            sqs("Action=ReceiveMessage&AttributeName.1=All&MaxNumberOfMessages=3", "/123456789012/q"),
            "ReceiveMessage",
            {"QueueUrl": QUEUE, "AttributeNames": ["All"], "MaxNumberOfMessages": 3},
        ),
    ],
)
def test_sqs_still_speaks_query(request_: HttpRequest, operation: str, parameters: dict[str, Any]) -> None:
    call = aws.read(request_)
    assert (call.name, call.protocol) == (f"sqs:{operation}", "query")
    assert call.parameters == parameters
    assert {need.resource for need in call.needs} == {"arn:aws:sqs:us-west-2:123456789012:q"}


def test_a_queue_path_at_a_stand_in_is_a_queue_url_with_its_port() -> None:
    body = b"Action=PurgeQueue&Version=2012-11-05"
    request = HttpRequest("POST", "localhost", "/123456789012/q", FORM, body, port=4566, scheme="http")
    call = aws.read(request, aws.Endpoints.parse(["localhost:4566=sqs"]))
    assert call.parameters == {"QueueUrl": "http://localhost:4566/123456789012/q"}


@pytest.mark.parametrize(
    ("target", "code"),
    [("/123456789012/other", "ambiguous-resource"), ("/queue", "wrong-path"), ("/1/q", "wrong-path")],
)
def test_a_queue_path_that_differs_from_the_queue_is_refused(target: str, code: str) -> None:
    url = "https%3A%2F%2Fsqs.us-west-2.amazonaws.com%2F123456789012%2Fq"
    with pytest.raises(Refusal, match=code):
        aws.read(sqs(f"Action=PurgeQueue&QueueUrl={url}", target))


@pytest.mark.parametrize(
    ("method", "host", "target", "name", "parameters"),
    [
        ("GET", "lambda", "/2015-03-31/event-source-mappings/", "lambda:ListEventSourceMappings", {}),
        ("GET", "lambda", "/2015-03-31/event-source-mappings", "lambda:ListEventSourceMappings", {}),
        ("GET", "lambda", "/2014-11-13/functions/f", "lambda:GetFunction", {"FunctionName": "f"}),
        ("GET", "appmesh", "/meshes/m", "appmesh:DescribeMesh", {"meshName": "m"}),
        ("GET", "quicksight", "/accounts/1/namespaces/n/iam-policy-assignments",
         "quicksight:ListIAMPolicyAssignments", {"AwsAccountId": "1", "Namespace": "n"}),
        ("GET", "email", "/v2/email/identities?PageSize=5", "sesv2:ListEmailIdentities", {"PageSize": 5}),
        ("GET", "geofencing.geo", "/geofencing/v0/collections/c", "location:DescribeGeofenceCollection",
         {"CollectionName": "c"}),
    ],
)  # fmt: skip
def test_older_uris_are_those_of_the_operation_today(
    method: str, host: str, target: str, name: str, parameters: dict[str, Any]
) -> None:
    call = aws.read(HttpRequest(method, f"{host}.us-west-2.amazonaws.com", target, (), b""))
    assert call.name == name
    assert call.parameters == parameters


def test_cloudfront_is_read_by_every_date_of_its_api() -> None:
    for date in ("2016-11-25", "2019-03-26", "2020-05-31"):
        call = aws.read(HttpRequest("GET", "cloudfront.amazonaws.com", f"/{date}/distribution/E1", (), b""))
        assert (call.name, call.parameters) == ("cloudfront:GetDistribution", {"Id": "E1"})
    with pytest.raises(Refusal, match="unknown-operation"):
        aws.read(HttpRequest("GET", "cloudfront.amazonaws.com", "/2031-01-01/distribution/E1", (), b""))


def test_an_operation_is_refused_at_the_host_prefix_of_another() -> None:
    json = ("Content-Type", "application/x-amz-json-1.1")
    for host, operation, fine in (
        ("stream-logs", "StartLiveTail", True),
        ("streaming-logs", "StartLiveTail", True),
        ("stream-logs", "DeleteLogGroup", False),
    ):
        headers = (json, ("X-Amz-Target", f"Logs_20140328.{operation}"))
        request = HttpRequest("POST", f"{host}.us-west-2.amazonaws.com", "/", headers, b"{}")
        if fine:
            assert aws.read(request).operation == operation
        else:
            with pytest.raises(Refusal, match="unknown-operation"):
                aws.read(request)
