"""S3's upload by HTML form (POST Object): a multipart body to a bucket, signed by its policy field."""

from __future__ import annotations

from collections.abc import Mapping

from callgate.call import HttpRequest

from .headers import media_type
from .hosts import Host
from .target import Target


def is_form_post(request: HttpRequest, host: Host, target: Target, headers: Mapping[str, str]) -> bool:
    """Whether the request is a form POST to a bucket."""
    return (
        request.method == "POST"
        and any(name == "s3" for name, _ in host.services)
        and len([segment for segment in target.segments if segment]) == 1
        and not target.pairs
        and media_type(headers) == "multipart/form-data"
    )
