"""Responses masked in every protocol, read back by botocore's own parser."""

import datetime
import gzip
import json
import zlib

import pytest
from mask_helpers import answer, json_body, make_call, mask, parsed

from callgate.call import HttpResponse, Refusal

SECRET = make_call("secretsmanager", "GetSecretValue")
BODY = (
    '{"ARN":"arn:1","CreatedDate":1.50E9,"Name":"db","SecretString":"canary","VersionStages":["AWSCURRENT"]}'
)


def test_json_is_masked_and_all_else_keeps_its_bytes() -> None:
    masked = mask(SECRET, answer(BODY), "$..SecretString")
    assert masked.response.body == BODY.replace("canary", "***").encode()
    assert masked.masked == ("$.SecretString",)
    assert masked.response.values("content-length") == [str(len(masked.response.body))]
    assert parsed(SECRET, masked.response)["SecretString"] == "***"


def test_a_response_in_which_nothing_is_masked_stays_as_it_came() -> None:
    response = answer(gzip.compress(b'{"Name":"db"}'), ("Content-Encoding", "gzip"))
    masked = mask(SECRET, response, "$..SecretString")
    assert masked.response == response
    assert masked.masked == ()


@pytest.mark.parametrize("members", [1, 2])
def test_gzip_is_taken_off_and_not_put_on_again(members: int) -> None:
    half = len(BODY) // members
    parts = [BODY[:half], BODY[half:]] if members == 2 else [BODY]
    response = answer(b"".join(gzip.compress(part.encode()) for part in parts), ("Content-Encoding", "gzip"))
    masked = mask(SECRET, response, "$..SecretString").response
    assert masked.values("content-encoding") == []
    assert json_body(masked)["SecretString"] == "***"


@pytest.mark.parametrize(
    "body",
    [
        "",
        BODY[:-1],
        BODY + "x",
        BODY + BODY,
        "\ufeff" + BODY,
        BODY.encode("utf-16"),
        BODY.encode().replace(b"canary", b"canary\xff"),
        BODY.encode().replace(b"canary", b"canary\xed\xa0\x80"),
        "<html><body>canary</body></html>",
        BODY.replace(":1.50E9", ":1.50E9,"),
        BODY.replace('"ARN"', "ARN"),
        BODY.replace("canary", "canary\n"),
        '{"a":' * 500 + '{"SecretString":"canary"}' + "}" * 500,
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_refused(body: str | bytes) -> None:
    if not body:
        assert mask(SECRET, answer(body), "$..SecretString").response.body == b""
        return
    with pytest.raises(Refusal) as refused:
        mask(SECRET, answer(body), "$..SecretString")
    assert refused.value.status == 502
    assert "canary" not in str(refused.value)


def test_a_body_shorter_than_its_head_says_is_refused() -> None:
    response = answer(BODY, ("Content-Length", str(len(BODY) + 1)))
    with pytest.raises(Refusal, match="mask-truncated"):
        mask(SECRET, response, "$..SecretString")


def test_a_body_in_another_charset_is_refused() -> None:
    with pytest.raises(Refusal):
        mask(SECRET, answer(BODY, ("Content-Type", "application/json; charset=utf-16")), "$..SecretString")


@pytest.mark.parametrize(
    "key", [r"Secret\u0053tring", "secretstring", "SECRETSTRING", "Secret\u017ftring", r"\u0053ecretString"]
)
@pytest.mark.case("F05")
def test_other_spellings_of_a_name_are_masked(key: str) -> None:
    body = BODY.replace("SecretString", key)
    assert b"canary" not in mask(SECRET, answer(body), "$.SecretString").response.body


@pytest.mark.case("F05")
def test_a_name_that_comes_twice_is_masked_twice() -> None:
    body = '{"SecretString":"canary1","SecretString":"canary2","SecretString":{"a":"canary3"}}'
    assert b"canary" not in mask(SECRET, answer(body), "$.SecretString").response.body


def test_names_that_no_model_knows_are_masked() -> None:
    body = (
        '{"New":{"SecretString":"canary","D":[{"SecretString":["canary"]}]},"ARN":{"SecretString":"canary"}}'
    )
    assert b"canary" not in mask(SECRET, answer(body), "$..SecretString").response.body


def test_dynamodb_numbers_keep_their_digits_and_the_crc_is_right() -> None:
    call = make_call("dynamodb", "GetItem")
    body = '{"Item":{"id":{"N":"12345678901234567890123456789012345678"},"pw":{"S":"canary"}},"x":1.10}'
    response = answer(body, ("x-amz-crc32", str(zlib.crc32(body.encode()))))
    masked = mask(call, response, "$.Item.pw.S").response
    assert masked.body == body.replace("canary", "***").encode()
    assert masked.values("x-amz-crc32") == [str(zlib.crc32(masked.body))]


def test_every_type_gets_a_value_that_the_sdk_reads() -> None:
    call = make_call("kms", "GetParametersForImport")
    body = '{"KeyId":"k","ImportToken":"Y2FuYXJ5","PublicKey":"Y2FuYXJ5","ParametersValidTo":1.5e9}'
    found = parsed(call, mask(call, answer(body), "$.ImportToken", "$.ParametersValidTo").response)
    assert found["ImportToken"] == b"***"
    assert found["ParametersValidTo"] == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert found["PublicKey"] == b"canary"


CREATE_KEY = (
    '<CreateAccessKeyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">\n <CreateAccessKeyResult>'
    "<AccessKey><UserName>bob</UserName><AccessKeyId>AKIA</AccessKeyId><Status>Active</Status>"
    "<SecretAccessKey>canary</SecretAccessKey><CreateDate>2026-01-01T00:00:00Z</CreateDate></AccessKey>"
    "</CreateAccessKeyResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></CreateAccessKeyResponse>"
)


@pytest.mark.parametrize(
    "secret",
    [
        "canary",
        "<![CDATA[canary]]>",
        "can<!-- x -->ary",
        "<!-- canary -->",
        "&#99;anary canary",
        "a<![CDATA[canary]]><!-- canary -->",
    ],
)
def test_query_xml_is_masked_and_all_else_keeps_its_bytes(secret: str) -> None:
    call = make_call("iam", "CreateAccessKey")
    masked = mask(call, answer(CREATE_KEY.replace("canary", secret)), "$.AccessKey.SecretAccessKey")
    assert masked.response.body == CREATE_KEY.replace("canary", "***").encode()
    assert masked.masked == ("$.AccessKey.SecretAccessKey",)
    assert parsed(call, masked.response)["AccessKey"]["SecretAccessKey"] == "***"


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE a [<!ENTITY x "canary">]>' + CREATE_KEY,
        CREATE_KEY[:-3],
        CREATE_KEY + "<a/>",
        '<?xml version="1.0" encoding="iso-8859-1"?>' + CREATE_KEY,
        "\ufeff" + CREATE_KEY,
        CREATE_KEY.encode("utf-16"),
        CREATE_KEY.replace("CreateAccessKeyResult>", "Other>"),
        CREATE_KEY.replace("canary", "&x;"),
        CREATE_KEY.replace("<SecretAccessKey>", "<SecretAccessKey note='canary'>"),
        "<a>" * 300 + "</a>" * 300,
        "{}",
    ],
)
def test_xml_that_cannot_be_read_without_doubt_is_refused(body: str | bytes) -> None:
    with pytest.raises(Refusal) as refused:
        mask(make_call("iam", "CreateAccessKey"), answer(body), "$.AccessKey.SecretAccessKey")
    assert refused.value.status == 502


@pytest.mark.parametrize("stray", ["canary", "<!-- canary -->", "<?canary?>", "<![CDATA[canary]]>"])
def test_what_stands_beside_masked_members_is_refused(stray: str) -> None:
    body = CREATE_KEY.replace("<AccessKey>", "<AccessKey>" + stray)
    with pytest.raises(Refusal):
        mask(make_call("iam", "CreateAccessKey"), answer(body), "$.AccessKey")


def test_patterns_are_sought_in_attributes() -> None:
    call = make_call("iam", "CreateAccessKey")
    body = CREATE_KEY.replace("<UserName>", '<UserName note="AKIAIOSFODNN7EXAMPLE">')
    masked = mask(call, answer(body), detect=("aws-key",)).response.body
    assert masked == body.replace("AKIAIOSFODNN7EXAMPLE", "***").encode()


def test_ec2_lists_are_masked() -> None:
    call = make_call("ec2", "DescribeInstances")
    body = (
        "<DescribeInstancesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><requestId>r</requestId>"
        "<reservationSet><item><instancesSet><item><privateIpAddress>10.1.2.3</privateIpAddress><keyName/></item>"
        "<item><privateIpAddress>10.1.2.4</privateIpAddress></item></instancesSet></item></reservationSet>"
        "</DescribeInstancesResponse>"
    )
    masked = mask(call, answer(body), "$.Reservations[*].Instances[*]['PrivateIpAddress','KeyName']").response
    assert (
        masked.body
        == (
            body.replace("10.1.2.3", "***")
            .replace("10.1.2.4", "***")
            .replace("<keyName/>", "<keyName>***</keyName>")
        ).encode()
    )
    assert parsed(call, masked)["Reservations"][0]["Instances"][0]["PrivateIpAddress"] == "***"


def test_rest_xml_flattened_lists_and_attributes_are_masked() -> None:
    call = make_call("s3", "ListObjectsV2")
    items = "<Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents>"
    body = f"<ListBucketResult>{items}</ListBucketResult>"
    masked = mask(call, answer(body), "$.Contents[1].Key").response
    assert [each["Key"] for each in parsed(call, masked)["Contents"]] == ["a", "***"]
    acl = make_call("s3", "GetBucketAcl")
    body = (
        "<AccessControlPolicy><AccessControlList><Grant>"
        '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:type="CanonicalUser"><ID>canary</ID></Grantee><Permission>READ</Permission></Grant>'
        "</AccessControlList></AccessControlPolicy>"
    )
    masked = mask(acl, answer(body), "$.Grants[*].Grantee.ID").response
    assert masked.body == body.replace("canary", "***").encode()


def test_rest_json_payload_and_headers_are_masked() -> None:
    call = make_call("s3", "HeadObject")
    response = answer(b"", ("x-amz-meta-pw", "canary"), ("ETag", '"e"'), ("x-amz-version-id", "v"))
    masked = mask(call, response, "$.Metadata.pw", "$.VersionId", method="HEAD", how="hash").response
    assert masked.values("x-amz-meta-pw") == masked.values("X-Amz-Meta-Pw") != ["canary"]
    assert masked.values("x-amz-version-id")[0].startswith("hmac-sha256:")
    assert masked.values("etag") == ['"e"']
    gone = mask(call, response, "$.Metadata", method="HEAD").response
    assert gone.values("x-amz-meta-pw") == []


@pytest.mark.parametrize("how", ["fixed", "drop", "hash", "last4", "first4"])
def test_every_way_hides_the_value(how: str) -> None:
    masked = mask(SECRET, answer(BODY.replace("canary", "canary-0123456789")), "$.SecretString", how=how)
    assert b"canary-0123456789" not in masked.response.body
    assert masked.masked == ("$.SecretString",)
    json.loads(masked.response.body)


def test_sensitive_members_are_masked_without_being_named() -> None:
    masked = mask(SECRET, answer(BODY), sensitive=True)
    assert masked.response.body == BODY.replace("canary", "***").encode()


@pytest.mark.case("F05")
def test_json_inside_a_string_is_masked_there_only() -> None:
    inner = json.dumps({"user": "bob", "password": 'ca"nary', "n": 1.0})
    body = json.dumps({"SecretString": inner, "Name": "n"})
    masked = json_body(mask(SECRET, answer(body), "$.SecretString", inside="$.password").response)
    assert masked["SecretString"] == inner.replace('ca\\"nary', "***")
    plain = json.dumps({"SecretString": "canary, not JSON"})
    assert json_body(mask(SECRET, answer(plain), "$.SecretString", inside="$.password").response) == {
        "SecretString": "***"
    }


@pytest.mark.parametrize(
    ("secret", "path"),
    [
        ("8675309", "$.password"),
        ('"canary"', "$.password"),
        ("true", "$..password"),
        ("null", "$..*"),
        ('["canary"]', "$.password"),
        ('[{"password":"canary"}]', "$.password"),
        ('{"db":"canary"}', "$.db.password"),
        ('{"db":["canary"],"user":"bob"}', "$.db.password"),
        ('{"db":"x","db":{"password":"canary"}}', "$.db.password"),
        ('{"dbs":{"password":"canary"}}', "$.dbs[*].password"),
        ('{"dbs":["canary"]}', "$.dbs[0].password"),
        ("WyJjYW5hcnkiXQ==", "$.password"),
        ("[" * 200 + '"canary"' + "]" * 200, "$[0].password"),
    ],
)
@pytest.mark.case("F05")
def test_a_string_in_which_the_path_cannot_go_is_masked_whole(secret: str, path: str) -> None:
    body = json.dumps({"SecretString": secret, "Name": "n"})
    assert json_body(mask(SECRET, answer(body), "$.SecretString", inside=path).response) == {
        "SecretString": "***",
        "Name": "n",
    }


def test_a_string_without_what_the_path_names_stays() -> None:
    for secret in ('{"user":"bob"}', '{"db":null}', '{"db":{"user":"bob"},"n":[1]}'):
        response = answer(json.dumps({"SecretString": secret}))
        assert mask(SECRET, response, "$.SecretString", inside="$.db.password").response == response


@pytest.mark.parametrize("layers", range(4))
@pytest.mark.parametrize("secret", ["canary", 'canary"canary', "canary\\canary", "canary'canary, canary"])
def test_an_assignment_in_json_within_strings_is_masked_and_leaves_json(layers: int, secret: str) -> None:
    text = json.dumps({"user": "bob", "db_password": secret, "port": 1})
    for _ in range(layers):
        text = json.dumps({"log": text})
    masked = json_body(
        mask(SECRET, answer(json.dumps({"SecretString": text})), detect=("password-assignment",)).response
    )["SecretString"]
    for _ in range(layers):
        masked = json.loads(masked)["log"]
    assert json.loads(masked) == {"user": "bob", "db_password": "***", "port": 1}


def test_patterns_are_sought_in_long_strings_that_are_almost_base64() -> None:
    body = json.dumps({"SecretString": "A" * 30 + "\n" * 300_000 + "!"})
    assert mask(SECRET, answer(body), detect=("jwt",)).masked == ()


def test_a_body_over_the_bound_is_refused() -> None:
    with pytest.raises(Refusal, match="mask-too-large"):
        mask(
            SECRET,
            answer(gzip.compress(BODY.encode() + b" " * 5000), ("Content-Encoding", "gzip")),
            "$.X",
            limit=4000,
        )


def test_errors_are_masked_where_the_model_knows_them() -> None:
    call = make_call("dynamodb", "PutItem")
    body = (
        '{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"m",'
        '"Item":{"pw":{"S":"canary"}}}'
    )
    masked = mask(call, answer(body, status=400), "$.Item.pw.S").response
    assert masked.body == body.replace("canary", "***").encode()


@pytest.mark.parametrize("status", [200, 206, 301, 304, 403, 412])
def test_headers_are_masked_whatever_the_status(status: int) -> None:
    body = b"" if status < 400 else b"<Error><Code>X</Code></Error>"
    headers = (("x-amz-meta-owner", "canary"), ("x-amz-version-id", "canary"))
    response = HttpResponse(status, headers, body)
    result = mask(make_call("s3", "GetObject"), response, "$.Metadata", "$.VersionId", method="GET")
    assert result.response == HttpResponse(status, (("x-amz-version-id", "***"),), body)
    assert result.masked == ("$.Metadata", "$.VersionId")


@pytest.mark.parametrize(("status", "method"), [(204, "POST"), (205, "POST"), (304, "POST"), (200, "HEAD")])
def test_a_body_where_there_can_be_none_is_refused(status: int, method: str) -> None:
    call = make_call("secretsmanager", "GetSecretValue")
    with pytest.raises(Refusal) as refused:
        mask(call, answer('{"SecretString": "canary"}', status=status), "$.SecretString", method=method)
    assert refused.value.code == "mask-unreadable"
