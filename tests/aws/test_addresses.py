"""The many addresses of AWS: as botocore builds them, and as other clients and documentation write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import botocore
import pytest
from botocore.config import Config
from signed import KEY_ID, Builder, session

from callgate import aws
from callgate.call import Call, HttpRequest, Refusal

OBJECT = {"Bucket": "bkt", "Key": "a/b c"}
POINT = {"Bucket": "arn:aws:s3:us-west-2:123456789012:accesspoint/point", "Key": "k"}
OUTPOST = "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01234567890123456"
LAMBDA_POINT = {"Bucket": "arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/point", "Key": "k"}
CONTROL = {"AccountId": "123456789012"}
SAME = {"NamespaceName": "n", "ServiceName": "s"}
VPCE = "vpce-0123456789abcdef0-abcdefgh"


def style(name: str) -> Config:
    return Config(s3={"addressing_style": name})


def read(
    service: str, operation: str, parameters: dict[str, Any], *, stand_in: str = "", **client: Any
) -> tuple[Call, HttpRequest]:
    region = client.pop("region", "us-west-2")
    request = Builder(service, region, made=session(), **client).build(operation, dict(parameters))
    return aws.read(request, aws.Endpoints.parse([stand_in] if stand_in else [])), request


@pytest.mark.parametrize(
    ("parameters", "client"),
    [
        (OBJECT, {}),
        (OBJECT, {"config": style("path")}),
        (OBJECT, {"config": Config(s3={"use_dualstack_endpoint": True})}),
        (OBJECT, {"config": Config(use_fips_endpoint=True)}),
        (OBJECT, {"config": Config(use_fips_endpoint=True, use_dualstack_endpoint=True)}),
        (OBJECT, {"config": Config(s3={"use_accelerate_endpoint": True})}),
        (OBJECT, {"config": Config(s3={"use_accelerate_endpoint": True, "use_dualstack_endpoint": True})}),
        (OBJECT, {"config": Config(s3={"us_east_1_regional_endpoint": "legacy"}), "region": "us-east-1"}),
        (OBJECT, {"region": "aws-global"}),
        (OBJECT, {"region": "cn-north-1"}),
        (OBJECT, {"region": "us-gov-west-1"}),
        (OBJECT, {"region": "us-iso-east-1"}),
        (OBJECT, {"region": "eusc-de-east-1"}),
        (OBJECT, {"config": Config(signature_version=botocore.UNSIGNED)}),
        (OBJECT, {"config": Config(signature_version="s3")}),
        (OBJECT, {"endpoint_url": "https://s3-eu-west-1.amazonaws.com", "region": "eu-west-1"}),
        (OBJECT, {"endpoint_url": "https://s3.amazonaws.com", "region": "eu-west-1"}),
        (OBJECT, {"endpoint_url": f"https://bucket.{VPCE}.s3.us-west-2.vpce.amazonaws.com"}),
        ({"Bucket": "my.dotted.bucket", "Key": "k"}, {}),
        ({"Bucket": "my.dotted.bucket", "Key": "k"}, {"config": style("virtual")}),
        ({"Bucket": "s3.us-east-1", "Key": "k"}, {}),
        (POINT, {}),
        (POINT, {"config": Config(s3={"use_dualstack_endpoint": True})}),
        (POINT, {"config": Config(use_fips_endpoint=True)}),
        (POINT, {"endpoint_url": f"https://accesspoint.{VPCE}.s3.us-west-2.vpce.amazonaws.com"}),
        ({"Bucket": f"{OUTPOST}/accesspoint/point", "Key": "k"}, {}),
        (LAMBDA_POINT, {}),
        (
            {"Bucket": "bkt--usw2-az1--x-s3", "Key": "k"},
            {"config": Config(s3={"disable_s3_express_session_auth": True})},
        ),
    ],
)
@pytest.mark.case("D11")
def test_an_object_is_the_same_by_every_address(parameters: dict[str, Any], client: dict[str, Any]) -> None:
    call, _ = read("s3", "GetObject", parameters, **client)
    assert call.name == "s3:GetObject"
    assert {name: call.parameters[name] for name in parameters} == parameters


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("bkt.s3.us-west-2.amazonaws.com", "bkt"),
        ("my.dotted.bkt.s3.us-west-2.amazonaws.com", "my.dotted.bkt"),
        ("bkt.s3.dualstack.us-west-2.amazonaws.com", "bkt"),
        ("bkt.s3-us-west-2.amazonaws.com", "bkt"),
        ("bkt.s3.amazonaws.com", "bkt"),
        ("s3.s3.amazonaws.com", "s3"),
        ("bkt.s3-website-us-west-2.amazonaws.com", "bkt"),
        ("bkt.s3-website.us-west-2.amazonaws.com", "bkt"),
        ("www.example.com.s3-website-us-west-2.amazonaws.com", "www.example.com"),
        ("abc.mrap.accesspoint.s3-global.amazonaws.com", "arn:aws:s3:::accesspoint/abc.mrap"),
        ("point-123456789012.s3-accesspoint.us-west-2.amazonaws.com", POINT["Bucket"]),
    ],
)
@pytest.mark.case("D11")
def test_the_bucket_is_told_from_the_host(host: str, bucket: str) -> None:
    request = HttpRequest("GET", host, "/k", (), b"")
    call = aws.read(request)
    assert (call.name, call.auth) == ("s3:GetObject", "anonymous")
    assert call.parameters == {"Bucket": bucket, "Key": "k"}


@pytest.mark.parametrize("target", ["/", "/docs/"])
def test_a_website_serves_below_a_slash_what_only_aws_knows(target: str) -> None:
    call = aws.read(HttpRequest("GET", "bkt.s3-website-us-west-2.amazonaws.com", target, (), b""))
    assert (call.name, call.parameters) == ("s3:GetObject", {"Bucket": "bkt"})
    assert [(need.resource, need.determined) for need in call.needs] == [("arn:aws:s3:::bkt/*", False)]


@pytest.mark.parametrize(("method", "target"), [("PUT", "/k"), ("GET", "/k?acl"), ("GET", "/?list-type=2")])
def test_a_website_is_only_read_and_by_its_paths(method: str, target: str) -> None:
    with pytest.raises(Refusal, match="unknown-operation"):
        aws.read(HttpRequest(method, "bkt.s3-website-us-west-2.amazonaws.com", target, (), b""))


def test_a_website_answers_without_tls_too() -> None:
    request = HttpRequest(
        "GET", "bkt.s3-website-us-west-2.amazonaws.com", "/k", (), b"", port=80, scheme="http"
    )
    assert aws.read(request).parameters["Bucket"] == "bkt"


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "client"),
    [
        ("s3", "ListBuckets", {}, {}),
        ("s3", "ListDirectoryBuckets", {}, {}),
        ("s3", "CreateBucket", {"Bucket": "bkt--usw2-az1--x-s3"}, {}),
        ("s3", "CreateSession", {"Bucket": "bkt--usw2-az1--x-s3"}, {}),
        ("s3", "WriteGetObjectResponse", {"RequestRoute": "io-x", "RequestToken": "t", "Body": b"x"}, {}),
        ("s3control", "GetPublicAccessBlock", CONTROL, {}),
        ("s3control", "GetPublicAccessBlock", CONTROL, {"config": Config(use_dualstack_endpoint=True)}),
        (
            "s3control",
            "GetPublicAccessBlock",
            CONTROL,
            {"endpoint_url": f"https://control.{VPCE}.s3.us-west-2.vpce.amazonaws.com"},
        ),
        ("s3control", "ListRegionalBuckets", {**CONTROL, "OutpostId": "op-01234567890123456"}, {}),
        ("s3control", "GetBucket", {**CONTROL, "Bucket": f"{OUTPOST}/bucket/mine"}, {}),
        ("sts", "GetCallerIdentity", {}, {"region": "aws-global"}),
        ("sts", "GetCallerIdentity", {}, {"region": "us-isob-east-1"}),
        ("iam", "ListUsers", {}, {"region": "us-gov-east-1"}),
        ("iam", "ListUsers", {}, {"region": "cn-north-1"}),
        ("route53", "ListHostedZones", {}, {"region": "us-isof-south-1"}),
        ("organizations", "ListAccounts", {}, {"region": "cn-north-1"}),
        ("health", "DescribeEvents", {}, {}),
        (
            "ec2",
            "DescribeInstances",
            {},
            {"endpoint_url": f"https://{VPCE}.ec2.us-west-2.vpce.amazonaws.com"},
        ),
        (
            "sqs",
            "ListQueues",
            {},
            {"endpoint_url": f"https://{VPCE}-us-west-2a.sqs.us-west-2.vpce.amazonaws.com"},
        ),
        (
            "ecr",
            "DescribeRegistry",
            {},
            {"endpoint_url": f"https://{VPCE}.api.ecr.us-west-2.vpce.amazonaws.com"},
        ),
        ("sqs", "ListQueues", {}, {"endpoint_url": "https://queue.amazonaws.com", "region": "us-east-1"}),
        (
            "ec2",
            "DescribeInstances",
            {},
            {"endpoint_url": "https://ec2.amazonaws.com", "region": "us-east-1"},
        ),
        (
            "elbv2",
            "DescribeLoadBalancers",
            {},
            {"endpoint_url": "https://elasticloadbalancing.amazonaws.com", "region": "us-east-1"},
        ),
        (
            "sqs",
            "ListQueues",
            {},
            {"endpoint_url": "https://eu-west-1.queue.amazonaws.com", "region": "eu-west-1"},
        ),
        ("servicediscovery", "DiscoverInstances", SAME, {}),
        ("servicediscovery", "DiscoverInstances", SAME, {"config": Config(inject_host_prefix=False)}),
        (
            "kinesis",
            "DescribeStream",
            {"StreamARN": "arn:aws:kinesis:us-west-2:123456789012:stream/s", "StreamName": "s"},
            {},
        ),
        ("neptune-graph", "ListQueries", {"graphIdentifier": "g-abc", "maxResults": 5}, {}),
        ("iot-data", "GetThingShadow", {"thingName": "t"}, {}),
        (
            "iot-data",
            "GetThingShadow",
            {"thingName": "t"},
            {"endpoint_url": "https://abc-ats.iot.us-west-2.amazonaws.com"},
        ),
        (
            "apigatewaymanagementapi",
            "GetConnection",
            {"ConnectionId": "c="},
            {"endpoint_url": "https://abc.execute-api.us-west-2.amazonaws.com/prod"},
        ),
        (
            "dynamodb",
            "ListTables",
            {"Limit": 5},
            {"endpoint_url": "https://123456789012.ddb.us-west-2.amazonaws.com"},
        ),
        ("events", "PutEvents", {"EndpointId": "abcde.veo"}, {}),
        ("sesv2", "SendEmail", {"EndpointId": "abcdef12.g3h"}, {}),
        ("sso", "ListAccounts", {"accessToken": "t"}, {}),
        ("sso-oidc", "RegisterClient", {"clientName": "a", "clientType": "public"}, {}),
        ("sts", "GetCallerIdentity", {}, {"region": "eu-west-1", "config": Config(use_fips_endpoint=False)}),
    ],
)
def test_an_operation_is_told_wherever_its_service_lives(
    service: str, operation: str, parameters: dict[str, Any], client: dict[str, Any]
) -> None:
    call, _ = read(service, operation, parameters, **client)
    assert call.name == f"{service}:{operation}"
    assert parameters.items() <= {**call.parameters, "Body": parameters.get("Body")}.items() | {
        ("Body", None)
    }


@pytest.mark.parametrize(
    ("stand_in", "url", "service", "operation", "parameters", "config"),
    [
        ("localhost:4566", "http://localhost:4566", "s3", "GetObject", OBJECT, style("path")),
        ("localhost", "http://localhost:4566", "s3", "GetObject", OBJECT, style("path")),
        ("localhost:4566=s3", "http://localhost:4566", "s3", "GetObject", OBJECT, style("path")),
        ("s3.local.test:9000=s3", "http://s3.local.test:9000", "s3", "GetObject", OBJECT, style("virtual")),
        ("local.test", "https://local.test", "s3", "GetObject", OBJECT, style("virtual")),
        ("local.test", "https://s3.local.test", "s3", "GetObject", OBJECT, style("path")),
        ("local.test", "https://s3.us-west-2.local.test", "s3", "GetObject", OBJECT, style("virtual")),
        ("local.test/base=s3", "https://local.test/base", "s3", "GetObject", OBJECT, style("path")),
        ("local.test/base", "https://local.test/base", "sqs", "ListQueues", {}, None),
        ("local.test", "https://sqs.us-west-2.local.test", "sqs", "ListQueues", {}, None),
        ("local.test/a/b/", "https://local.test/a/b", "lambda", "ListFunctions", {}, None),
        ("local.test", "https://local.test", "cloudwatch", "ListMetrics", {}, None),
        ("127.0.0.1:5000", "http://127.0.0.1:5000", "iam", "ListUsers", {}, None),
        ("localhost", "http://localhost:1", "s3control", "GetPublicAccessBlock", CONTROL, None),
        ("localhost", "http://localhost:1", "servicediscovery", "DiscoverInstances", SAME, None),
        ("localhost=stepfunctions", "http://localhost:1", "stepfunctions", "StartSyncExecution", {}, None),
        ("localhost=rds", "http://localhost:1", "rds", "DescribeDBInstances", {}, None),
        ("localhost", "http://localhost:1", "sts", "AssumeRoleWithWebIdentity", {}, None),
        ("localhost", "http://localhost:1", "cognito-idp", "InitiateAuth", {}, None),
        ("localhost", "http://localhost:1", "sso", "ListAccounts", {"accessToken": "t"}, None),
    ],
)
def test_a_stand_in_is_read_as_the_service_it_stands_for(
    stand_in: str, url: str, service: str, operation: str, parameters: dict[str, Any], config: Config | None
) -> None:
    call, _ = read(service, operation, parameters, stand_in=stand_in, endpoint_url=url, config=config)
    assert call.name == f"{service}:{operation}"
    assert parameters.items() <= call.parameters.items()


@pytest.mark.parametrize(
    ("stand_in", "url", "code"),
    [
        ("localhost:4566", "http://localhost:4567", "unknown-host"),
        ("localhost=sqs", "http://localhost", "scope-mismatch"),
        ("localhost/base", "http://localhost/other", "wrong-path"),
        ("localhost", "http://example.test", "unknown-host"),
        ("local.test", "https://sqs.us-west-2.local.test", "unknown-operation"),
        ("local.test", "https://evillocal.test", "unknown-host"),
    ],
)
@pytest.mark.case("D19")
def test_a_request_elsewhere_is_refused(stand_in: str, url: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read("iam", "ListUsers", {}, stand_in=stand_in, endpoint_url=url)
    assert refused.value.code in (code, "scope-mismatch")


def test_an_unsigned_request_to_a_nameless_stand_in_is_refused() -> None:
    request = HttpRequest("GET", "localhost", "/bkt/k", (), b"", port=80, scheme="http")
    with pytest.raises(Refusal, match="unknown-operation"):
        aws.read(request, aws.Endpoints.parse(["localhost"]))


@pytest.mark.parametrize("text", ["", "a b", "host:99999", "host=nothing", "host/../x", "host:port", "=s3"])
def test_a_stand_in_that_makes_no_sense_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        aws.Endpoints.parse([text])


ECR = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
REPOSITORY = "arn:aws:ecr:us-west-2:123456789012:repository"
NPM = "dom-123456789012.d.codeartifact.us-west-2.amazonaws.com"
GIT = "git-codecommit.us-west-2.amazonaws.com"
APP = "arn:aws:codecommit:us-west-2:*:app"
APPSYNC = "abc123.appsync-api.us-west-2.amazonaws.com"
CLUSTER = "0123456789ABCDEF" * 2
SITES = [
    ("GET", ECR, "/v2/", "ecr:GetAuthorizationToken", "*"),
    ("GET", ECR, "/v2/a/b/manifests/latest", "ecr:BatchGetImage", f"{REPOSITORY}/a/b"),
    ("HEAD", ECR, "/v2/a/blobs/sha256:0", "ecr:GetDownloadUrlForLayer", f"{REPOSITORY}/a"),
    ("PUT", ECR, "/v2/app/manifests/1", "ecr:PutImage", f"{REPOSITORY}/app"),
    ("DELETE", ECR, "/v2/app/manifests/1", "ecr:BatchDeleteImage", f"{REPOSITORY}/app"),
    ("GET", ECR, "/v2/app/tags/list", "ecr:ListImages", f"{REPOSITORY}/app"),
    ("POST", ECR, "/v2/app/blobs/uploads/", "ecr:InitiateLayerUpload", f"{REPOSITORY}/app"),
    ("PATCH", ECR, "/v2/app/blobs/uploads/1", "ecr:UploadLayerPart", f"{REPOSITORY}/app"),
    ("DELETE", ECR, "/v2/app/blobs/uploads/1", "ecr:UploadLayerPart", f"{REPOSITORY}/app"),
    ("PUT", ECR, "/v2/app/blobs/uploads/1?digest=sha256:0", "ecr:CompleteLayerUpload", f"{REPOSITORY}/app"),
    ("GET", "public.ecr.aws", "/token/?scope=aws", "ecr-public:GetAuthorizationToken", "*"),
    ("GET", NPM, "/npm/repo/left-pad", "codeartifact:ReadFromRepository",
     "arn:aws:codeartifact:us-west-2:123456789012:repository/dom/repo"),
    ("PUT", NPM, "/npm/repo/left-pad", "codeartifact:PublishPackageVersion",
     "arn:aws:codeartifact:us-west-2:123456789012:package/dom/repo/npm/*"),
    ("GET", GIT, "/v1/repos/app/info/refs?service=git-receive-pack", "codecommit:GitPush", APP),
    ("POST", GIT, "/v1/repos/app/git-upload-pack", "codecommit:GitPull", APP),
    ("POST", "abc123.execute-api.us-west-2.amazonaws.com", "/prod/pets/1", "execute-api:Invoke",
     "arn:aws:execute-api:us-west-2:*:abc123/prod/POST/pets/1"),
    ("POST", "abc123.lambda-url.us-west-2.on.aws", "/", "lambda:InvokeFunctionUrl",
     "arn:aws:lambda:us-west-2:*:function:*"),
    ("POST", APPSYNC, "/graphql", "appsync:GraphQL", "arn:aws:appsync:us-west-2:*:apis/*"),
    ("POST", APPSYNC, "/event", "appsync:EventPublish", "arn:aws:appsync:us-west-2:*:apis/*"),
    ("GET", f"{CLUSTER}.gr7.us-west-2.eks.amazonaws.com", "/api/v1/pods", "eks:AccessKubernetesApi",
     "arn:aws:eks:us-west-2:*:cluster/*"),
    ("GET", f"{CLUSTER}.gr7.eks-cluster.us-west-2.api.aws", "/api", "eks:AccessKubernetesApi",
     "arn:aws:eks:us-west-2:*:cluster/*"),
    ("DELETE", "search-logs-abcdef0123.us-west-2.es.amazonaws.com", "/index", "es:ESHttpDelete",
     "arn:aws:es:us-west-2:*:domain/logs/index"),
    ("GET", "vpc-logs-abcdef0123.aos.us-west-2.on.aws", "/", "es:ESHttpGet",
     "arn:aws:es:us-west-2:*:domain/logs/"),
    ("GET", "ssmmessages.us-west-2.amazonaws.com", "/v1/control-channel/i-0123",
     "ssmmessages:OpenControlChannel", "*"),
    ("POST", "ssmmessages.us-west-2.amazonaws.com", "/v1/data-channel/s-0123",
     "ssmmessages:CreateDataChannel", "*"),
    ("POST", "aps-workspaces.us-west-2.amazonaws.com", "/workspaces/ws-1/api/v1/remote_write",
     "aps:RemoteWrite", "arn:aws:aps:us-west-2:*:workspace/ws-1"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "host", "target", "name", "resource"), SITES)
def test_a_host_outside_the_models_has_names_of_its_own(
    method: str, host: str, target: str, name: str, resource: str
) -> None:
    call = aws.read(HttpRequest(method, host.lower(), target, (), b""))
    assert call.name == name
    assert [(need.action, need.resource) for need in call.needs] == [(name, resource)]
    assert call.needs[0].determined == (resource == "*" or "*" not in resource)
    assert call.needs[0].access == aws.access_level(name) is not None
    with pytest.raises(Refusal, match="no-model"):
        aws.operation_model(call)


@pytest.mark.parametrize(
    ("method", "host", "target"),
    [
        ("GET", ECR, "/v2/manifests/latest"),
        ("GET", ECR, "/v2/a/manifests"),
        ("GET", ECR, "/v2/a/tags/manifests/latest"),
        ("GET", ECR, "/v2/a%2Fb/manifests/latest"),
        ("POST", ECR, "/v2/a/manifests/latest"),
        ("GET", ECR, "/v1/a/manifests/latest"),
        ("DELETE", NPM, "/npm/repo/left-pad"),
        ("POST", GIT, "/v1/repos/app/x/git-receive-pack"),
        ("POST", GIT, "/v1/repos/a%2Fb/git-receive-pack"),
        ("GET", GIT, "/v1/repos/app/info/refs?service=git-upload-pack&service=git-receive-pack"),
        ("POST", APPSYNC, "/other"),
        ("OPTIONS", "search-logs-abcdef0123.us-west-2.es.amazonaws.com", "/"),
        ("PUT", "ssmmessages.us-west-2.amazonaws.com", "/v1/control-channel/i-0123"),
        ("POST", "aps-workspaces.us-west-2.amazonaws.com", "/workspaces/ws-1/api/v1/other"),
    ],
)
def test_what_such_a_host_does_not_have_is_refused(method: str, host: str, target: str) -> None:
    with pytest.raises(Refusal, match="unknown-operation"):
        aws.read(HttpRequest(method, host, target, (), b""))


def test_a_layer_mounted_from_another_repository_is_read_from_there() -> None:
    target = "/v2/app/blobs/uploads/?mount=sha256:0"
    for more, source in (("&from=other/base", "other/base"), ("", "*")):
        call = aws.read(HttpRequest("POST", ECR, target + more, (), b""))
        assert [(need.action, need.resource, need.determined) for need in call.needs] == [
            ("ecr:InitiateLayerUpload", f"{REPOSITORY}/app", True),
            ("ecr:GetDownloadUrlForLayer", f"{REPOSITORY}/{source}", source != "*"),
        ]


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("abc123.execute-api.us-west-2.amazonaws.com", "/prod/x"),
        ("xray.us-west-2.amazonaws.com", "/v1/traces"),
    ],
)
def test_an_approval_of_a_call_in_no_model_is_one_of_its_query_and_its_body(host: str, path: str) -> None:
    def call(query: str, body: bytes | None) -> Call:
        return aws.read(HttpRequest("POST", host, path + query, (), body))

    first = call("?a=1", b"body")
    assert first.payload is not None
    assert (first.payload.length, first.parameters["Query"]) == (4, b"a=1")
    assert first.fingerprint == call("?a=1", b"body").fingerprint
    others = [call("?a=2", b"body"), call("?a=1", b"bodies"), call("", b"body"), call("?a=1", b"")]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5
    signed = call("?a=1&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60", b"body")
    assert signed.fingerprint == first.fingerprint


def test_the_body_of_a_call_in_no_model_may_stream() -> None:
    headers = (("Content-Length", "5"),)
    push = HttpRequest("PATCH", ECR, "/v2/app/blobs/uploads/1", headers, None)
    assert aws.head_suffices(push)
    call = aws.read(push)
    assert call.payload is not None
    assert (call.payload.length, call.payload.sha256) == (5, None)


def test_the_agent_of_ssm_names_its_operations_by_target() -> None:
    headers = (("X-Amz-Target", "EC2WindowsMessageDeliveryService.GetMessages"),)
    call = aws.read(HttpRequest("POST", "ec2messages.us-west-2.amazonaws.com", "/", headers, b"{}"))
    assert call.name == "ec2messages:GetMessages"


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("xray.us-west-2.amazonaws.com", "/v1/traces", "xray:PutTraceSegments"),
        ("logs.us-west-2.amazonaws.com", "/v1/logs", "logs:PutLogEvents"),
        ("monitoring.us-west-2.amazonaws.com", "/v1/metrics", "cloudwatch:PutMetricData"),
    ],
)
def test_telemetry_exports_are_told_by_their_path(host: str, path: str, name: str) -> None:
    headers = (("Content-Type", "application/x-protobuf"),)
    assert aws.read(HttpRequest("POST", host, path, headers, b"\x0a\x00")).name == name


@pytest.mark.case("D09")
def test_signature_4a_names_its_regions() -> None:
    scope = f"Credential={KEY_ID}/20260101/s3/aws4_request, SignedHeaders=host, Signature=aa"
    headers = (("Authorization", f"AWS4-ECDSA-P256-SHA256 {scope}"), ("X-Amz-Region-Set", "*"))
    mrap = HttpRequest("GET", "abc.accesspoint.s3-global.amazonaws.com", "/k", headers, b"")
    call = aws.read(mrap)
    assert (call.auth, call.region, call.account) == ("sigv4a", None, "029608264753")
    regional = replace(mrap, host="bkt.s3.us-west-2.amazonaws.com")
    assert aws.read(regional).region == "us-west-2"
    elsewhere = replace(regional, headers=(headers[0], ("X-Amz-Region-Set", "eu-*,us-east-1")))
    with pytest.raises(Refusal, match="scope-mismatch"):
        aws.read(elsewhere)


@pytest.mark.case("D09")
def test_presigned_requests_are_read_like_others() -> None:
    client = Builder("s3", made=session()).client
    for version in ("s3v4", "s3"):
        client = session().create_client("s3", "us-west-2", config=Config(signature_version=version))
        url = client.generate_presigned_url("get_object", Params={**OBJECT, "ResponseContentType": "text/x"})
        host, _, target = url.removeprefix("https://").partition("/")
        call = aws.read(HttpRequest("GET", host, "/" + target, (), b""))
        assert call.auth == "presigned"
        assert call.account == "029608264753"
        assert call.parameters == {**OBJECT, "ResponseContentType": "text/x"}
    sts = session().create_client("sts", "us-west-2")
    url = sts.generate_presigned_url("get_caller_identity", HttpMethod="GET")
    host, _, target = url.removeprefix("https://").partition("/")
    call = aws.read(HttpRequest("GET", host, "/" + target, (), b""))
    assert (call.name, call.auth) == ("sts:GetCallerIdentity", "presigned")


PRESIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"
    f"&X-Amz-Credential={KEY_ID}%2F20260101%2Fus-west-2%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z"
    "&X-Amz-Expires=60&X-Amz-Security-Token=t&X-Amz-Signature=aa&X-Amz-SignedHeaders=host"
)


def presigned(method: str, more: str, *headers: tuple[str, str]) -> Call:
    return aws.read(
        HttpRequest(method, "bkt.s3.us-west-2.amazonaws.com", f"/k?{PRESIGNED}&{more}", headers, b"")
    )


@pytest.mark.parametrize(
    ("method", "more", "name", "parameters"),
    [
        ("GET", "x-amz-checksum-mode=ENABLED&x-id=GetObject", "s3:GetObject", {"ChecksumMode": "ENABLED"}),
        ("PUT", "x-amz-acl=public-read&x-amz-meta-a=%C3%A9&x-amz-tagging=a%3Db&x-id=PutObject",
         "s3:PutObject", {"ACL": "public-read", "Metadata": {"a": "é"}, "Tagging": "a=b"}),
        ("PUT", "x-amz-copy-source=src%2Fa%20b", "s3:CopyObject", {"CopySource": "src/a b"}),
        ("PUT", "partNumber=1&uploadId=u&x-amz-copy-source=src%2Fa", "s3:UploadPartCopy",
         {"PartNumber": 1, "UploadId": "u", "CopySource": "src/a"}),
    ],
)  # fmt: skip
def test_headers_that_an_sdk_moves_into_a_presigned_url_are_read(
    method: str, more: str, name: str, parameters: dict[str, Any]
) -> None:
    call = presigned(method, more)
    assert (call.name, call.parameters) == (name, {"Bucket": "bkt", "Key": "k", **parameters})


def test_a_header_in_the_query_stands_once_and_is_a_header_of_a_presigned_url_only() -> None:
    for code, more, headers in (
        ("duplicate-header", "x-amz-acl=private&x-amz-acl=public-read", ()),
        ("duplicate-header", "x-amz-acl=private", (("x-amz-acl", "public-read"),)),
        ("malformed-header", "x-amz-meta-a=%0D%0A", ()),
        ("unknown-parameter", "x-amz-newthing=1", ()),
        ("unknown-parameter", "X-Amz-Acl=private", ()),
    ):
        with pytest.raises(Refusal, match=code):
            presigned("PUT", more, *headers)
    with pytest.raises(Refusal, match="unknown-parameter"):
        aws.read(HttpRequest("PUT", "bkt.s3.us-west-2.amazonaws.com", "/k?x-amz-acl=private", (), b""))


@pytest.mark.parametrize(
    ("access_key_id", "account"),
    [
        ("ASIAQNZGKIQY56JQ7WML", "029608264753"),
        ("AKIAIOSFODNN7EXAMPLE", None),
        ("AKIDEXAMPLE", None),
        ("", None),
        (None, None),
    ],
)
def test_the_account_is_told_from_the_access_key_id(access_key_id: str | None, account: str | None) -> None:
    assert aws.account_of(access_key_id) == account


@pytest.mark.parametrize(
    ("host", "known", "of_aws"),
    [
        ("s3.amazonaws.com", True, True),
        ("sqs.us-west-2.amazonaws.com", True, True),
        ("sqs.us-west-2.api.aws", True, True),
        ("sqs.us-west-9.amazonaws.com", False, True),
        ("nothing.amazonaws.com", False, True),
        ("x.on.aws", False, True),
        ("pypi.org", False, False),
        ("amazonaws.com.evil.org", False, False),
        ("notamazonaws.com", False, False),
    ],
)
def test_hosts_of_aws_are_told_from_others(host: str, known: bool, of_aws: bool) -> None:
    assert aws.knows_host(host) is known
    assert aws.is_aws_domain(host) is of_aws


def test_twins_come_back_as_a_set() -> None:
    call, _ = read("rds", "DescribeDBClusters", {})
    assert call.candidates == tuple((name, "DescribeDBClusters") for name in ("rds", "docdb", "neptune"))
    assert {need.operation.partition(":")[0] for need in call.needs} == {"rds", "docdb", "neptune"}
