"""Hosts of AWS that stand in no service model: registries, websites of APIs, git, clusters.

Each gets the service and operation by which IAM knows the access where IAM has one (`execute-api:Invoke`,
`es:ESHttpGet`), else a name of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from callgate.call import HttpRequest, Refusal

from .target import Target

_REGION = r"(?P<region>[a-z]{2,4}-[a-z]+(?:-[a-z]+)?-\d)"
_SUFFIX = r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
_DUAL = r"(?:api\.aws|api\.amazonwebservices\.com\.cn)"
_ON = r"on\.(?:aws|amazonwebservices\.com\.cn)"


@dataclass(frozen=True, slots=True)
class Site:
    """One such host. `parts` are what its name says (`api`, `domain`, …); `signing` the names a scope may
    use.
    """

    service: str
    signing: tuple[str, ...]
    region: str | None
    account: str | None
    parts: dict[str, str]
    name: Callable[[HttpRequest, Target], str]


def _method(prefix: str) -> Callable[[HttpRequest, Target], str]:
    return lambda request, target: prefix + request.method.capitalize()


def _always(operation: str) -> Callable[[HttpRequest, Target], str]:
    return lambda request, target: operation


def _git(request: HttpRequest, target: Target) -> str:
    service = dict(target.pairs).get("service")
    asked = {"git-upload-pack": "GitPull", "git-receive-pack": "GitPush"}
    last = target.segments[-1]
    if request.method == "POST" and last in asked:
        return asked[last]
    if request.method == "GET" and target.segments[-2:] == ("info", "refs") and service in asked:
        return asked[service]
    raise Refusal("unknown-operation", "The request is neither a git fetch nor a git push over HTTPS.")


def _registry(request: HttpRequest, target: Target) -> str:
    """OCI distribution specification, in ECR's actions."""
    writes = request.method not in ("GET", "HEAD")
    kind = next(
        (part for part in reversed(target.segments) if part in ("manifests", "blobs", "uploads", "tags")),
        None,
    )
    if target.segments[0] != "v2" or request.method not in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
        raise Refusal("unknown-operation", "The request is not one of the OCI distribution specification.")
    if request.method == "DELETE":
        return "BatchDeleteImage"
    match kind:
        case "manifests":
            return "PutImage" if writes else "BatchGetImage"
        case "uploads":
            return {"POST": "InitiateLayerUpload", "PUT": "CompleteLayerUpload"}.get(
                request.method, "UploadLayerPart"
            )
        case "blobs" if not writes:
            return "GetDownloadUrlForLayer"
        case "tags" if not writes:
            return "ListImages"
        case None if not writes and target.segments in (("v2",), ("v2", "")):
            return "GetAuthorizationToken"
    raise Refusal("unknown-operation", "The request is not one of the OCI distribution specification.")


def _packages(request: HttpRequest, target: Target) -> str:
    if request.method in ("GET", "HEAD"):
        return "ReadFromRepository"
    if request.method in ("PUT", "POST"):
        return "PublishPackageVersion"
    raise Refusal(
        "unknown-operation", "CodeArtifact's repositories are read with GET and written with PUT or POST."
    )


def _channel(prefix: str) -> Callable[[HttpRequest, Target], str]:
    def name(request: HttpRequest, target: Target) -> str:
        found = re.fullmatch(r"v1/(control|data)-channel/[\w.:-]+", "/".join(target.segments))
        wanted = request.values("x-amz-target")
        if found:
            return f"Open{found[1].capitalize()}Channel"
        if len(wanted) == 1 and (action := re.fullmatch(r"[A-Za-z]+(?:Service)?\.([A-Za-z]+)", wanted[0])):
            return action[1]
        raise Refusal("unknown-operation", f"The request is none that agents send to {prefix}.")

    return name


_SITES: list[tuple[re.Pattern[str], str, tuple[str, ...], Callable[[HttpRequest, Target], str]]] = [
    (re.compile(pattern), service, signing, name)
    for pattern, service, signing, name in (
        (rf"(?P<account>\d{{12}})\.dkr[.-]ecr(?:-fips)?\.{_REGION}\.(?:{_SUFFIX}|{_ON})", "ecr", (), _registry),
        (r"public\.ecr\.aws", "ecr-public", (), _registry),
        (rf"(?P<domain>[a-z][a-z0-9-]*)-(?P<account>\d{{12}})\.d\.codeartifact\.{_REGION}\.(?:{_SUFFIX}|on\.aws)",
         "codeartifact", (), _packages),
        (rf"git-codecommit(?:-fips)?\.{_REGION}\.{_SUFFIX}", "codecommit", ("codecommit",), _git),
        (rf"(?P<api>[a-z0-9]+)(?:-vpce-[0-9a-z]+)?\.execute-api\.{_REGION}\.{_SUFFIX}", "execute-api", ("execute-api",),
         _always("Invoke")),
        (rf"(?P<function>[a-z0-9]+)\.lambda-url\.{_REGION}\.{_ON}", "lambda", ("lambda",), _always("InvokeFunctionUrl")),
        (rf"(?P<api>[a-z0-9]+)\.(?:ddpg\.)?appsync-(?:realtime-)?api\.{_REGION}\.(?:{_SUFFIX}|{_DUAL})", "appsync",
         ("appsync",), _always("GraphQL")),
        (rf"(?P<cluster>[0-9a-f]{{32}})\.(?:[a-z0-9]+\.)?{_REGION}\.eks\.(?:{_SUFFIX}|{_DUAL})", "eks", (),
         _always("AccessKubernetesApi")),
        (rf"(?:search|vpc)-(?P<domain>[a-z][a-z0-9-]+)\.{_REGION}\.(?:es\.{_SUFFIX}|on\.aws)", "es", ("es",),
         _method("ESHttp")),
        (rf"(?P<collection>[a-z0-9]+)\.{_REGION}\.aoss\.(?:{_SUFFIX}|{_ON})", "aoss", ("aoss",), _always("APIAccessAll")),
        (rf"ssmmessages(?:-fips)?\.{_REGION}\.(?:{_SUFFIX}|{_DUAL})", "ssmmessages", ("ssmmessages",),
         _channel("ssmmessages")),
        (rf"ec2messages(?:-fips)?\.{_REGION}\.(?:{_SUFFIX}|{_DUAL})", "ec2messages", ("ec2messages",),
         _channel("ec2messages")),
    )
]  # fmt: skip


def site_at(host: str) -> Site | None:
    """The site at `host`, None if there is none."""
    for pattern, service, signing, name in _SITES:
        if found := pattern.fullmatch(host):
            said = {key: value for key, value in found.groupdict().items() if value is not None}
            region, account = said.pop("region", None), said.pop("account", None)
            return Site(service, signing, region, account, said, name)
    return None


# OTLP exports share hosts with modelled services; service, method and path tell them apart.
OTLP = {
    ("xray", "POST", "v1/traces"): "PutTraceSegments",
    ("logs", "POST", "v1/logs"): "PutLogEvents",
    ("cloudwatch", "POST", "v1/metrics"): "PutMetricData",
}
