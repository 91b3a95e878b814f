"""S3's upload by HTML form (POST Object): a multipart body to a bucket, signed by its policy field."""

from __future__ import annotations

from callgate.aws.head import Head
from callgate.aws.headers import media_type


def is_form_post(head: Head) -> bool:
    """Whether the request is a form POST to a bucket."""
    return (
        head.request.method == "POST"
        and any(name == "s3" for name, _ in head.host.services)
        and len(head.target.segments) == 1
        and not head.target.pairs
        and media_type(head.headers) == "multipart/form-data"
    )
