"""Parameters as the ledger may hold them: canaries in every place where people put secrets."""

import datetime
import decimal
import json
from typing import Any

import pytest
import rfc8785
from mask_helpers import KEY, make_call

from callgate.decision import Mask
from callgate.masking import redact_parameters, redact_text

CANARY = "hunter2-canary"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJodW50ZXIyLWNhbmFyeSJ9.c2lnbmF0dXJl"

SECRETS: list[tuple[str, str, dict[str, Any]]] = [
    ("secretsmanager", "PutSecretValue", {"SecretId": "db", "SecretString": CANARY}),
    ("secretsmanager", "CreateSecret", {"Name": "db", "SecretBinary": CANARY.encode()}),
    ("iam", "CreateLoginProfile", {"UserName": "bob", "Password": CANARY}),
    ("iam", "ChangePassword", {"OldPassword": CANARY, "NewPassword": CANARY}),
    ("cognito-idp", "SignUp", {"Username": "bob", "Password": CANARY, "ClientId": "c"}),
    ("cognito-idp", "AdminInitiateAuth", {"AuthParameters": {"PASSWORD": CANARY}, "ClientId": "c"}),
    ("cognito-idp", "AdminCreateUser", {"Username": "bob", "TemporaryPassword": CANARY}),
    ("rds", "CreateDBInstance", {"DBInstanceIdentifier": "db", "MasterUserPassword": CANARY}),
    ("docdb", "CreateDBCluster", {"DBClusterIdentifier": "db", "MasterUserPassword": CANARY}),
    ("redshift", "CreateCluster", {"ClusterIdentifier": "c", "MasterUserPassword": CANARY}),
    ("ssm", "PutParameter", {"Name": "/db", "Value": CANARY, "Type": "SecureString"}),
    ("ssm", "SendCommand", {"DocumentName": "sh", "Parameters": {"commands": [f"echo {CANARY}"]}}),
    ("bedrock-runtime", "Converse", {"messages": [{"role": "user", "content": [{"text": CANARY}]}]}),
    ("bedrock-runtime", "Converse", {"messages": [{"content": [{"toolUse": {"input": {"a": [CANARY]}}}]}]}),
    ("bedrock-runtime", "ApplyGuardrail", {"content": [{"text": {"text": CANARY}}]}),
    ("comprehendmedical", "DetectPHI", {"Text": CANARY}),
    ("translate", "TranslateText", {"Text": CANARY, "SourceLanguageCode": "de"}),
    ("polly", "SynthesizeSpeech", {"Text": CANARY, "VoiceId": "Vicki"}),
    ("connectparticipant", "SendMessage", {"ContentType": "text/plain", "Content": CANARY}),
    (
        "pinpoint",
        "SendMessages",
        {"MessageRequest": {"MessageConfiguration": {"SMSMessage": {"Body": CANARY}}}},
    ),
    ("pinpoint-sms-voice-v2", "SendTextMessage", {"MessageBody": CANARY}),
    (
        "pipes",
        "CreatePipe",
        {
            "TargetParameters": {
                "BatchJobParameters": {
                    "ContainerOverrides": {"Environment": [{"Name": "A", "Value": CANARY}]}
                }
            }
        },
    ),
    ("sdb", "PutAttributes", {"ItemName": "i", "Attributes": [{"Name": "a", "Value": CANARY}]}),
    ("ses", "SendEmail", {"Message": {"Subject": {"Data": CANARY}, "Body": {"Text": {"Data": CANARY}}}}),
    ("sns", "Publish", {"Subject": CANARY, "Message": CANARY}),
    ("swf", "RespondActivityTaskCompleted", {"taskToken": CANARY, "result": CANARY}),
    ("swf", "StartWorkflowExecution", {"domain": "d", "input": CANARY}),
    ("glue", "RunStatement", {"SessionId": "s", "Code": CANARY}),
    ("appsync", "PutGraphqlApiEnvironmentVariables", {"environmentVariables": {"A": CANARY}}),
    ("neptunedata", "ExecuteGremlinQuery", {"gremlinQuery": f"g.V().has('card', '{CANARY}')"}),
    ("kms", "Encrypt", {"KeyId": "k", "Plaintext": CANARY.encode()}),
    ("kms", "Decrypt", {"CiphertextBlob": CANARY.encode()}),
    ("lambda", "CreateFunction", {"FunctionName": "f", "Code": {"ZipFile": CANARY.encode()}}),
    ("lambda", "UpdateFunctionConfiguration", {"Environment": {"Variables": {"PW": CANARY}}}),
    ("lambda", "Invoke", {"FunctionName": "f", "Payload": CANARY.encode()}),
    ("ec2", "RunInstances", {"UserData": CANARY, "MaxCount": 1}),
    ("ec2", "ModifyInstanceAttribute", {"InstanceId": "i", "UserData": {"Value": CANARY.encode()}}),
    ("ec2", "CreateLaunchTemplate", {"LaunchTemplateData": {"UserData": CANARY}}),
    ("autoscaling", "CreateLaunchConfiguration", {"LaunchConfigurationName": "l", "UserData": CANARY}),
    (
        "ecs",
        "RunTask",
        {"overrides": {"containerOverrides": [{"environment": [{"name": "A", "value": CANARY}]}]}},
    ),
    ("ecs", "RunTask", {"overrides": {"containerOverrides": [{"command": ["sh", CANARY]}]}}),
    ("batch", "SubmitJob", {"containerOverrides": {"environment": [{"name": "A", "value": CANARY}]}}),
    ("codebuild", "StartBuild", {"environmentVariablesOverride": [{"name": "A", "value": CANARY}]}),
    ("cloudformation", "CreateStack", {"Parameters": [{"ParameterKey": "P", "ParameterValue": CANARY}]}),
    ("cloudformation", "CreateStack", {"StackName": "s", "TemplateBody": CANARY}),
    ("elasticbeanstalk", "UpdateEnvironment", {"OptionSettings": [{"OptionName": "PW", "Value": CANARY}]}),
    ("amplify", "CreateApp", {"name": "a", "environmentVariables": {"PW": CANARY}, "oauthToken": CANARY}),
    (
        "apprunner",
        "CreateService",
        {
            "SourceConfiguration": {
                "ImageRepository": {"ImageConfiguration": {"RuntimeEnvironmentVariables": {"PW": CANARY}}}
            }
        },
    ),
    ("s3", "GetObject", {"Bucket": "b", "Key": "k", "SSECustomerKey": CANARY}),
    ("s3", "CopyObject", {"Bucket": "b", "CopySourceSSECustomerKey": CANARY}),
    ("s3", "PutObject", {"Bucket": "b", "Body": CANARY.encode(), "Metadata": {"pw": CANARY}}),
    (
        "dynamodb",
        "PutItem",
        {"TableName": "t", "Item": {"pw": {"S": CANARY}, "m": {"M": {"x": {"S": CANARY}}}}},
    ),
    (
        "dynamodb",
        "UpdateItem",
        {"Key": {"id": {"S": "1"}}, "ExpressionAttributeValues": {":p": {"S": CANARY}}},
    ),
    (
        "dynamodb",
        "BatchWriteItem",
        {"RequestItems": {"t": [{"PutRequest": {"Item": {"pw": {"S": CANARY}}}}]}},
    ),
    (
        "dynamodb",
        "TransactWriteItems",
        {"TransactItems": [{"Put": {"Item": {"pw": {"B": CANARY.encode()}}}}]},
    ),
    ("dynamodb", "ExecuteStatement", {"Statement": f"INSERT INTO \"t\" VALUE {{'pw':'{CANARY}'}}"}),
    ("dynamodb", "ExecuteStatement", {"Statement": "SELECT", "Parameters": [{"S": CANARY}]}),
    ("rds-data", "ExecuteStatement", {"sql": f"UPDATE u SET pw='it''s {CANARY}' WHERE id=1"}),
    ("rds-data", "ExecuteStatement", {"sql": f"UPDATE u SET pw='{CANARY}"}),
    ("rds-data", "ExecuteStatement", {"sql": f"SELECT $x${CANARY}$x$"}),
    ("rds-data", "ExecuteStatement", {"sql": f'UPDATE u SET pw="{CANARY}"'}),
    ("rds-data", "ExecuteStatement", {"parameters": [{"name": "p", "value": {"stringValue": CANARY}}]}),
    ("redshift-data", "ExecuteStatement", {"Sql": "x", "Parameters": [{"name": "p", "value": CANARY}]}),
    ("athena", "StartQueryExecution", {"QueryString": f"select '{CANARY}'"}),
    ("sqs", "SendMessage", {"QueueUrl": "q", "MessageBody": CANARY}),
    ("sqs", "SendMessageBatch", {"Entries": [{"Id": "1", "MessageBody": CANARY}]}),
    ("sns", "Publish", {"TopicArn": "t", "Message": CANARY}),
    ("kinesis", "PutRecord", {"StreamName": "s", "Data": CANARY.encode()}),
    ("events", "PutEvents", {"Entries": [{"Source": "s", "Detail": CANARY}]}),
    ("stepfunctions", "StartExecution", {"stateMachineArn": "m", "input": CANARY}),
    ("logs", "PutLogEvents", {"logEvents": [{"message": CANARY, "timestamp": 1}]}),
    ("elasticache", "CreateUser", {"UserId": "u", "Passwords": [CANARY]}),
    ("elasticache", "CreateReplicationGroup", {"AuthToken": CANARY}),
    ("elbv2", "CreateRule", {"Actions": [{"AuthenticateOidcConfig": {"ClientSecret": CANARY}}]}),
    ("directconnect", "CreatePublicVirtualInterface", {"newPublicVirtualInterface": {"authKey": CANARY}}),
    ("apigateway", "CreateApiKey", {"name": "k", "value": CANARY}),
    ("glue", "CreateConnection", {"ConnectionInput": {"ConnectionProperties": {"PASSWORD": CANARY}}}),
    ("firehose", "CreateDeliveryStream", {"SplunkDestinationConfiguration": {"HECToken": CANARY}}),
    ("sagemaker", "CreateTrainingJob", {"Environment": {"PW": CANARY}, "HyperParameters": {"k": CANARY}}),
    ("acm", "ImportCertificate", {"PrivateKey": CANARY.encode(), "Certificate": b"c"}),
    ("iam", "UploadServerCertificate", {"ServerCertificateName": "n", "PrivateKey": CANARY}),
    ("sts", "AssumeRoleWithWebIdentity", {"RoleArn": "r", "WebIdentityToken": CANARY}),
    ("sts", "AssumeRole", {"RoleArn": "r", "TokenCode": CANARY}),
    ("iam", "CreateUser", {"UserName": "bob", "Tags": [{"Key": "k", "Value": PEM}]}),
    ("iam", "TagUser", {"UserName": "bob", "Tags": [{"Key": "k", "Value": f"postgres://u:{CANARY}@h/db"}]}),
    ("iam", "TagUser", {"Tags": [{"Key": "k", "Value": f"password={CANARY}"}]}),
    ("iam", "TagUser", {"Tags": [{"Key": "k", "Value": f"https://b/k?X-Amz-Signature={CANARY}&a=b"}]}),
    ("iam", "TagUser", {"Tags": [{"Key": "k", "Value": f"Authorization: Bearer {CANARY}-0123456789"}]}),
    ("iam", "CreatePolicy", {"PolicyDocument": CANARY * 30}),
    ("iam", "CreateUser", {"NoModel": {"password": CANARY}, "AlsoNot": [{"api_key": CANARY}]}),
    ("tunnel", "Connect", {"Authorization": CANARY, "host": "pypi.org"}),
]


@pytest.mark.parametrize(("service", "operation", "parameters"), SECRETS)
@pytest.mark.case("F10")
def test_no_canary_is_kept(service: str, operation: str, parameters: dict[str, Any]) -> None:
    call = make_call(service, operation, "json", **parameters)
    text = rfc8785.dumps(redact_parameters(call, key=KEY)).decode()
    assert CANARY not in text
    assert CANARY.encode().hex() not in text
    assert "aHVudGVyMi1jYW5hcnk" not in text


KEPT: list[tuple[str, str, dict[str, Any]]] = [
    ("secretsmanager", "GetSecretValue", {"SecretId": "prod/db", "VersionStage": "AWSCURRENT"}),
    ("s3", "DeleteObjects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "a/b c"}], "Quiet": True}}),
    ("iam", "DeleteAccessKey", {"UserName": "bob", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}),
    ("dynamodb", "DeleteItem", {"TableName": "t", "Key": {"id": {"S": "1"}, "n": {"N": "7"}}}),
    ("ec2", "TerminateInstances", {"InstanceIds": ["i-0123456789abcdef0"]}),
    (
        "kms",
        "ScheduleKeyDeletion",
        {"KeyId": "arn:aws:kms:eu-west-1:111111111111:key/1", "PendingWindowInDays": 7},
    ),
    ("lambda", "CreateFunction", {"FunctionName": "f", "Timeout": 3, "Role": "arn:aws:iam::1:role/r"}),
    ("dynamodb", "ExecuteStatement", {"Statement": 'DELETE FROM "t" WHERE id=?'}),
    ("elbv2", "DescribeLoadBalancers", {"Names": ["a"], "PageSize": 3}),
    ("cognito-idp", "DescribeUserPool", {"UserPoolId": "eu-west-1_abc"}),
]


@pytest.mark.parametrize(("service", "operation", "parameters"), KEPT)
def test_what_names_things_is_kept(service: str, operation: str, parameters: dict[str, Any]) -> None:
    assert redact_parameters(make_call(service, operation, "json", **parameters), key=KEY) == parameters


def test_equal_secrets_have_equal_hashes_under_one_key_only() -> None:
    call = make_call("secretsmanager", "PutSecretValue", SecretString=CANARY)
    other = make_call("ssm", "PutParameter", Value=CANARY)
    hashed = redact_parameters(call, key=KEY)["SecretString"]
    assert hashed == redact_parameters(other, key=KEY)["Value"]
    assert hashed["$length"] == len(CANARY)
    assert hashed != redact_parameters(call, key=b"other" * 8)["SecretString"]


def test_what_a_rule_masks_in_responses_is_hashed_in_requests() -> None:
    call = make_call("iam", "CreateUser", UserName="bob", Path="/x/")
    masked = redact_parameters(call, key=KEY, masks=[Mask("r", ("$.UserName",), "last4")])
    assert "bob" not in json.dumps(masked)
    assert masked["Path"] == "/x/"


def test_numbers_times_and_text_fit_into_canonical_json() -> None:
    call = make_call(
        "tunnel", "Connect", "json", a=2**53, b=decimal.Decimal("1.10"), c=float("nan"), d=1.5, e="\ud800",
        f=-(2**60), g=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), h=None, j=True, k=(1, 2),
        i=decimal.Decimal("1" * 38),
        l=float("inf"), m={"\udfff": 1}, n=decimal.Decimal("sNaN"), o=object(),
    )  # fmt: skip
    redacted = redact_parameters(call, key=KEY)
    rfc8785.dumps(redacted)
    assert redacted["a"] == {"$number": str(2**53)}
    assert redacted["d"] == 1.5
    assert redacted["g"] == "2026-01-02T00:00:00Z"
    assert redacted["i"] == {"$number": "1" * 38}
    assert redacted["j"] is True
    assert redacted["k"] == [1, 2]


@pytest.mark.parametrize(
    "parameters",
    [
        {"Keys": ["k" * 200] * 10_000},
        {f"k{i}": {"a": "x" * 100} for i in range(10_000)},
        {"a": [[[["x" * 250] * 100] * 100]]},
        {"k" * 100_000: 1},
    ],
)
def test_the_whole_is_bounded(parameters: dict[str, Any]) -> None:
    call = make_call("tunnel", "Connect", "json", **parameters)
    assert len(rfc8785.dumps(redact_parameters(call, key=KEY))) < 60_000


def test_nesting_is_bounded() -> None:
    nested: Any = CANARY
    for _ in range(90):
        nested = {"a": nested}
    assert CANARY not in json.dumps(
        redact_parameters(make_call("tunnel", "Connect", "json", x=nested), key=KEY)
    )


@pytest.mark.parametrize(
    "text",
    [
        f"https://b.s3.amazonaws.com/k?X-Amz-Credential=a&X-Amz-Security-Token={CANARY}&X-Amz-Signature={CANARY}",
        f"cannot connect to mysql://root:{CANARY}@db.internal:3306/x",
        f"invalid password: {CANARY}",
        f"bad token {JWT}",
        PEM,
    ],
)
def test_text_is_freed_of_what_looks_like_a_secret(text: str) -> None:
    assert CANARY not in redact_text(text)
    assert JWT not in redact_text(text)


@pytest.mark.parametrize(
    "statement",
    [
        "'\\" * 300_000,
        "'\\'" * 200_000 + "\\",
        '"\\"' * 200_000 + "\\",
        "".join(f"$t{number}$ " for number in range(100_000)),
        "'" + "''" * 300_000 + CANARY,
        "'" + CANARY * 50_000,
    ],
)
def test_long_statements_are_read_once(statement: str) -> None:
    for service, operation, name in (
        ("rds-data", "ExecuteStatement", "sql"),
        ("athena", "StartQueryExecution", "QueryString"),
    ):
        redacted = redact_parameters(make_call(service, operation, **{name: statement}), key=KEY)
        assert redacted[name].keys() == {"$hash", "$length"}


@pytest.mark.parametrize(
    ("statement", "plain"),
    [
        (f"SELECT $x1${CANARY}$x1$ FROM t WHERE a=$1", "SELECT ? FROM t WHERE a=$1"),
        (f"UPDATE u SET pw='it''s {CANARY}' WHERE id=$1", "UPDATE u SET pw=? WHERE id=$1"),
        ('SELECT "a b" FROM "t"', 'SELECT "a b" FROM "t"'),
        (f"SELECT 'C:\\' || '{CANARY}' || 'D:\\'", None),
        (f"-- \" \nSELECT '{CANARY}' -- \"", None),
        (f"SELECT $é${CANARY}$é$", "SELECT ?"),
        (f"SELECT $x${CANARY}", None),
    ],
)
def test_statements_keep_all_but_their_literals(statement: str, plain: str | None) -> None:
    redacted = redact_parameters(make_call("athena", "StartQueryExecution", QueryString=statement), key=KEY)
    kept = redacted["QueryString"]
    assert kept == plain or (plain is None and kept.keys() == {"$hash", "$length"})
