"""What S3's operations need: IAM's names rarely are the operations' names, and objects have many addresses.

Follows "Actions, resources, and condition keys for Amazon S3" (also S3 Express, S3 Object Lambda and S3 on
Outposts) and "Required permissions for Amazon S3 API operations". A multipart call needs what its object
needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from callgate.aws.arns import UNTOLD, Pair, Scope, is_arn, last_segment, mappings

# What an operation on an object needs, and what it needs instead if it names a version.
_OBJECT: Final[dict[str, tuple[str, ...]]] = {
    "AbortMultipartUpload": ("AbortMultipartUpload",),
    "CompleteMultipartUpload": ("PutObject",),
    "CopyObject": ("PutObject",),
    "CreateMultipartUpload": ("PutObject",),
    "DeleteObject": ("DeleteObject", "DeleteObjectVersion"),
    "DeleteObjectAnnotation": ("DeleteObjectAnnotation", "DeleteObjectVersionAnnotation"),
    "DeleteObjectTagging": ("DeleteObjectTagging", "DeleteObjectVersionTagging"),
    "GetObject": ("GetObject", "GetObjectVersion"),
    "GetObjectAcl": ("GetObjectAcl", "GetObjectVersionAcl"),
    "GetObjectAnnotation": ("GetObjectAnnotation", "GetObjectVersionAnnotation"),
    "GetObjectLegalHold": ("GetObjectLegalHold",),
    "GetObjectRetention": ("GetObjectRetention",),
    "GetObjectTagging": ("GetObjectTagging", "GetObjectVersionTagging"),
    "GetObjectTorrent": ("GetObjectTorrent", "GetObjectVersionTorrent"),
    "HeadObject": ("GetObject", "GetObjectVersion"),
    "ListObjectAnnotations": ("ListObjectAnnotations", "ListObjectVersionAnnotations"),
    "ListParts": ("ListMultipartUploadParts",),
    "PostObject": ("PutObject",),
    "PutObject": ("PutObject",),
    "PutObjectAcl": ("PutObjectAcl", "PutObjectVersionAcl"),
    "PutObjectAnnotation": ("PutObjectAnnotation", "PutObjectVersionAnnotation"),
    "PutObjectLegalHold": ("PutObjectLegalHold",),
    "PutObjectRetention": ("PutObjectRetention",),
    "PutObjectTagging": ("PutObjectTagging", "PutObjectVersionTagging"),
    "RenameObject": ("PutObject",),
    "RestoreObject": ("RestoreObject",),
    "SelectObjectContent": ("GetObject",),
    "UpdateObjectEncryption": ("UpdateObjectEncryption",),
    "UploadPart": ("PutObject",),
    "UploadPartCopy": ("PutObject",),
}

# The actions on a bucket whose names are not their operations' names.
_BUCKET: Final[dict[str, str]] = {
    "CreateBucketMetadataConfiguration": "CreateBucketMetadataTableConfiguration",
    "DeleteBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration": "PutInventoryConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketMetadataConfiguration": "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketMetricsConfiguration": "PutMetricsConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketAnalyticsConfiguration": "GetAnalyticsConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketIntelligentTieringConfiguration": "GetIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration": "GetInventoryConfiguration",
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketMetadataConfiguration": "GetBucketMetadataTableConfiguration",
    "GetBucketMetricsConfiguration": "GetMetricsConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "ListBucketAnalyticsConfigurations": "GetAnalyticsConfiguration",
    "ListBucketIntelligentTieringConfigurations": "GetIntelligentTieringConfiguration",
    "ListBucketInventoryConfigurations": "GetInventoryConfiguration",
    "ListBucketMetricsConfigurations": "GetMetricsConfiguration",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration": "PutInventoryConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketMetricsConfiguration": "PutMetricsConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}

_GRANTS: Final = ("ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")
_WRITES: Final = ("CopyObject", "CreateMultipartUpload", "PostObject", "PutObject")
_ALIASES: Final = ("-s3alias", "--ol-s3", "--op-s3", "--xa-s3", ".mrap")


class _Bucket(NamedTuple):
    """A bucket as a request names it: the prefix of its IAM actions, its ARN, and what comes before a key.

    `objects` is None where objects have no ARNs of their own. `behind` is what may stand behind an access
    point or an alias of one, which a request does not tell.
    """

    prefix: str
    arn: str
    objects: str | None
    determined: bool = True
    behind: _Bucket | None = None


def needs(operation: str, parameters: Mapping[str, Any], scope: Scope) -> list[Pair] | None:
    """The needs of an operation of service `s3`."""
    if operation == "ListBuckets":
        return [("s3:ListAllMyBuckets", "*", True)]
    if operation == "ListDirectoryBuckets":
        return [("s3express:ListAllMyDirectoryBuckets", "*", True)]
    if operation == "WriteGetObjectResponse":
        return None
    bucket = _bucket(parameters.get("Bucket"), scope)
    if operation == "CreateSession" or (bucket.prefix == "s3express" and operation == "HeadBucket"):
        return [("s3express:CreateSession", bucket.arn, bucket.determined)]
    if operation == "DeleteObjects":
        return _delete_objects(parameters, bucket, scope)
    if operation in _OBJECT or operation == "GetObjectAttributes":
        return _object(operation, parameters, bucket, scope)
    name = _BUCKET.get(operation, operation)
    pairs = _pairs(name, bucket, None, scope)
    if operation == "CreateBucket":
        for extra in _new_bucket(parameters):
            pairs += _pairs(extra, bucket, None, scope)
    return pairs


def _object(operation: str, parameters: Mapping[str, Any], bucket: _Bucket, scope: Scope) -> list[Pair]:
    versioned = bool(parameters.get("VersionId"))
    names = [_OBJECT[operation][-1 if versioned else 0]] if operation in _OBJECT else []
    if operation == "GetObjectAttributes":
        names = ["GetObjectVersion", "GetObjectVersionAttributes"] if versioned else ["GetObject", operation]
    if parameters.get("BypassGovernanceRetention"):
        names.append("BypassGovernanceRetention")
    if operation in _WRITES:
        names += _written_along(parameters)
    pairs = [pair for name in names for pair in _pairs(name, bucket, parameters.get("Key"), scope)]
    if operation in ("CopyObject", "UploadPartCopy"):
        pairs += _copied(parameters.get("CopySource"), "GetObject", scope)
    if operation == "RenameObject":
        pairs += _copied(parameters.get("RenameSource"), "GetObject", scope)
        pairs += _copied(parameters.get("RenameSource"), "DeleteObject", scope)
    return pairs


def _written_along(parameters: Mapping[str, Any]) -> list[str]:
    """What headers ask to be written with an object."""
    names = ["PutObjectAcl"] if any(parameters.get(grant) for grant in _GRANTS) else []
    names += ["PutObjectTagging"] if parameters.get("Tagging") else []
    names += ["PutObjectLegalHold"] if parameters.get("ObjectLockLegalHoldStatus") else []
    names += ["PutObjectRetention"] if parameters.get("ObjectLockMode") else []
    return names


def _new_bucket(parameters: Mapping[str, Any]) -> list[str]:
    names = ["PutBucketAcl"] if any(parameters.get(grant) for grant in _GRANTS) else []
    if parameters.get("ObjectLockEnabledForBucket"):
        names += ["PutBucketObjectLockConfiguration", "PutBucketVersioning"]
    names += ["PutBucketOwnershipControls"] if parameters.get("ObjectOwnership") else []
    configuration = parameters.get("CreateBucketConfiguration")
    if isinstance(configuration, Mapping) and configuration.get("Tags"):
        names.append("TagResource")
    return names


def _delete_objects(parameters: Mapping[str, Any], bucket: _Bucket, scope: Scope) -> list[Pair]:
    """A need for every key; one for any key if none can be read."""
    pairs: list[Pair] = []
    delete = parameters.get("Delete")
    objects = delete.get("Objects") if isinstance(delete, Mapping) else None
    bypass = ("BypassGovernanceRetention",) if parameters.get("BypassGovernanceRetention") else ()
    for item in mappings(objects) or [{}]:
        name = "DeleteObjectVersion" if item.get("VersionId") else "DeleteObject"
        for action in (name, *bypass):
            pairs += _pairs(action, bucket, item.get("Key"), scope)
    return pairs


def _copied(source: Any, name: str, scope: Scope) -> list[Pair]:
    """The needs of reading `source`: `bucket/key` or an access point's ARN, URL-encoded, with `?versionId=`.

    A `+` in it is a space to some readers and a plus to others: both are needed.
    """
    text = source if isinstance(source, str) else ""
    place, _, version = text.lstrip("/").partition("?versionId=")
    if "/" not in place or "?" in place + version:
        return [(f"s3:{name}{end}", f"arn:{scope.partition}:s3:::*", False) for end in ("", "Version")]
    action = name + "Version" if version else name
    pairs: list[Pair] = []
    for text in dict.fromkeys((place, place.replace("+", " "))):
        plain = unquote(text)
        if is_arn(plain) and "/object/" in plain:
            bucket, _, key = plain.partition("/object/")
        else:
            bucket, _, key = plain.partition("/")
        pairs += _pairs(action, _bucket(bucket, scope), key, scope)
    return pairs


def _pairs(name: str, bucket: _Bucket, key: Any, scope: Scope) -> list[Pair]:
    """The need of the action `name` on `bucket`, or on its object `key`, and on what stands behind it."""
    is_object = name in _OBJECT_ACTIONS
    known = not is_object or (isinstance(key, str) and key != "")
    tail = (str(key) if known else "*") if is_object else ""
    if bucket.prefix == "s3express" and (is_object or name in _ZONAL):
        # AWS only asks for the session; rules written for S3 shall hold as well.
        plain = f"arn:{scope.partition}:s3:::{last_segment(bucket.arn)}" + (f"/{tail}" if is_object else "")
        return [("s3express:CreateSession", bucket.arn, bucket.determined), (f"s3:{name}", plain, known)]
    arn = bucket.objects + tail if is_object and bucket.objects else bucket.arn
    pairs = [(f"{bucket.prefix}:{name}", arn, bucket.determined and known)]
    return pairs + (_pairs(name, bucket.behind, key, scope) if bucket.behind else [])


_ZONAL: Final = ("ListBucket", "ListBucketMultipartUploads")
_OBJECT_ACTIONS: Final = frozenset(name for names in _OBJECT.values() for name in names) | {
    "BypassGovernanceRetention",
    "GetObjectAttributes",
    "GetObjectVersionAttributes",
}


def _bucket(named: Any, scope: Scope) -> _Bucket:
    """The bucket that the parameter `Bucket` names: a name, an alias, or the ARN of an access point."""
    root = f"arn:{scope.partition}:s3:::"
    anywhere = _Bucket("s3", f"{root}*", f"{root}*/", determined=False)
    if not isinstance(named, str) or not named:
        return anywhere
    if is_arn(named):
        service = named.split(":")[2]
        if service == "s3-object-lambda":
            return _Bucket(service, named, None, behind=anywhere)
        if service == "s3-outposts":
            place = named.partition("/accesspoint/")[0]
            behind = _Bucket(service, f"{place}/bucket/*", f"{place}/bucket/*/object/", determined=False)
            return _Bucket(service, named, f"{named}/object/", behind=behind)
        return _Bucket(service, named, f"{named}/object/", behind=anywhere)
    if named.endswith("--x-s3"):
        resource = scope.arn("s3express", f"bucket/{named}")
        return _Bucket("s3express", resource.arn, f"{resource.arn}/", resource.determined)
    alias = named.endswith(_ALIASES)
    return _Bucket("s3", root + named, f"{root}{named}/", behind=anywhere if alias else None)


_OUTPOSTS: Final[dict[str, str]] = {
    "DeleteBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
}
_ACCOUNT: Final[dict[str, str]] = {
    "DeletePublicAccessBlock": "PutAccountPublicAccessBlock",
    "GetPublicAccessBlock": "GetAccountPublicAccessBlock",
    "PutPublicAccessBlock": "PutAccountPublicAccessBlock",
}


def control_needs(operation: str, parameters: Mapping[str, Any], scope: Scope) -> list[Pair] | None:
    """The needs of an operation of `s3control`. Its buckets are those of Outposts."""
    if operation in _ACCOUNT:
        return [(f"s3:{_ACCOUNT[operation]}", "*", True)]
    if operation == "ListRegionalBuckets":
        return [("s3-outposts:ListRegionalBuckets", "*", True)]
    if operation == "ListAccessPointsForDirectoryBuckets":
        return [("s3express:ListAccessPointsForDirectoryBuckets", "*", True)]
    name, bucket = parameters.get("Name"), parameters.get("Bucket")
    if operation.endswith("AccessPointScope") and not name:
        return [(f"s3express:{operation}", *scope.arn("s3express", f"accesspoint/{UNTOLD}"))]
    if "AccessPoint" in operation and isinstance(name, str):
        if name.endswith("--xa-s3") or operation.endswith("AccessPointScope"):
            return [(f"s3express:{operation}", *scope.arn("s3express", f"accesspoint/{name}"))]
        if is_arn(name) and ":s3-outposts:" in name:
            return [(f"s3-outposts:{operation}", name, True)]
        if isinstance(bucket, str) and is_arn(bucket) and ":s3-outposts:" in bucket:
            place = bucket.partition("/bucket/")[0]
            return [(f"s3-outposts:{operation}", f"{place}/accesspoint/{name}", True)]
        return None
    if "Bucket" in operation:
        action = f"s3-outposts:{_OUTPOSTS.get(operation, operation)}"
        if is_arn(bucket):
            return [(action, str(bucket), True)]
        outpost = parameters.get("OutpostId")
        return [(action, *scope.arn("s3-outposts", f"outpost/{outpost or UNTOLD}/bucket/{bucket or UNTOLD}"))]
    return None
