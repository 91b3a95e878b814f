"""S3's upload by HTML form (POST Object): a multipart body to a bucket, signed by its policy field.

Follows "POST Object" of the S3 API Reference and RFC 7578. The fields come back as the parameters that
PutObject has for them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from callgate.aws.auth import ANONYMOUS, Auth, scoped
from callgate.aws.head import Head, signed_head
from callgate.aws.headers import media_type
from callgate.call import Payload, Refusal

_BOUNDARY = re.compile(
    r"multipart/form-data; ?boundary=(?:\"([^\"]{1,70})\"|([\w'()+,./:=?-]{1,70}))", re.I | re.A
)
_DISPOSITION = re.compile(
    r"form-data; name=\"([^\"\r\n]+)\"(?:; filename=\"([^\"\r\n]*)\")?(?:; filename\*=[^\r\n]*)?", re.I
)
# Fields by the parameter of PutObject that they are; x-amz-meta-* are its Metadata.
_FIELDS = {
    "acl": "ACL",
    "cache-control": "CacheControl",
    "content-type": "ContentType",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "expires": "Expires",
    "tagging": "Tagging",
    "x-amz-storage-class": "StorageClass",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "success_action_redirect": "SuccessActionRedirect",
    "success_action_status": "SuccessActionStatus",
}
_SIGNING = frozenset(
    "policy awsaccesskeyid signature x-amz-algorithm x-amz-credential x-amz-date x-amz-signature "
    "x-amz-security-token".split()
)


def is_form_post(head: Head) -> bool:
    """Whether the request is a form POST to a bucket."""
    return (
        head.request.method == "POST"
        and any(name == "s3" for name, _ in head.host.services)
        and len(head.target.segments) == 1
        and head.target.segments != ("",)
        and not head.target.pairs
        and media_type(head.headers) == "multipart/form-data"
    )


def read_form_post(head: Head) -> tuple[Head, dict[str, Any], Payload]:
    """The head as the form signs it, the parameters, and the file by reference. Raises Refusal."""
    if head.request.body is None:
        raise Refusal("body-needed", "The form says what it uploads and where.")
    if head.auth.kind != "unsigned":
        raise Refusal("ambiguous-auth", "A form is signed by its fields, not by headers.")
    found = _BOUNDARY.fullmatch(head.headers["content-type"])
    if found is None:
        raise _malformed()
    fields, file, name = _fields(head.request.body, (found[1] or found[2]).encode())
    if "key" not in fields:
        raise _malformed()
    key = fields["key"].replace("${filename}", name)
    parameters: dict[str, Any] = {"Bucket": head.target.segments[0], "Key": key}
    for field, value in fields.items():
        if field.startswith("x-amz-meta-"):
            parameters.setdefault("Metadata", {})[field.removeprefix("x-amz-meta-")] = value
        elif field in _FIELDS:
            parameters[_FIELDS[field]] = value
        elif field != "key" and field not in _SIGNING and not field.startswith("x-ignore-"):
            raise Refusal("unknown-parameter", "The form has a field that uploads do not have.")
    payload = Payload(len(file), hashlib.sha256(file).hexdigest())
    return signed_head(head, _auth(fields)), {**parameters, "Body": payload}, payload


def _malformed() -> Refusal:
    return Refusal("malformed-form", "The body is not a form that uploads one file.")


def _fields(body: bytes, boundary: bytes) -> tuple[dict[str, str], bytes, str]:
    """Fields (lower-case names), the file and its name. The file is the last part, as S3 wants it."""
    mark = b"--" + boundary
    if not body.startswith(mark + b"\r\n") or not re.search(
        b"\r\n" + re.escape(mark) + rb"--(?:\r\n)?\Z", body
    ):
        raise _malformed()
    inner = body[len(mark) + 2 : body.rindex(b"\r\n" + mark + b"--")]
    parts = inner.split(b"\r\n" + mark + b"\r\n")
    fields: dict[str, str] = {}
    for at, part in enumerate(parts):
        head, blank, value = part.partition(b"\r\n\r\n")
        try:
            lines = [line.partition(":") for line in head.decode("utf-8").split("\r\n")]
            dispositions = [text.strip() for name, _, text in lines if name.lower() == "content-disposition"]
            said = _DISPOSITION.fullmatch(dispositions[0]) if len(dispositions) == 1 else None
            encoded = any(name.lower() == "content-transfer-encoding" for name, _, _ in lines)
            if not blank or said is None or encoded:
                raise _malformed()
            name = said[1].lower()
            if (name == "file") != (at == len(parts) - 1):
                raise _malformed()
            if name == "file":
                return fields, value, said[2] or ""
            if name in fields:
                raise Refusal("duplicate-parameter", "The form has a field twice.")
            fields[name] = value.decode("utf-8")
        except UnicodeDecodeError:
            raise _malformed() from None
    raise _malformed()


def _auth(fields: dict[str, str]) -> Auth:
    if "x-amz-credential" in fields:
        if "awsaccesskeyid" in fields or not {"policy", "x-amz-signature"} <= fields.keys():
            raise Refusal("ambiguous-auth", "The form is signed in two ways, or in half.")
        return scoped(fields.get("x-amz-algorithm", ""), fields["x-amz-credential"], None, "presigned")
    if "awsaccesskeyid" in fields:
        return Auth("presigned", fields["awsaccesskeyid"])
    return ANONYMOUS
