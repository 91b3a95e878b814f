"""Hosts of AWS that stand in no service model: registries, APIs and functions of customers, git, clusters.

Each gets the service and operation by which IAM knows the access (`execute-api:Invoke`, `es:ESHttpGet`), and
parameters of its own: Method and Path, and what the host says (ApiId, Domain, …).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callgate.aws.target import Target
from callgate.call import HttpRequest, Need, Refusal

_R = r"(?P<region>[a-z]{2,4}-[a-z]+(?:-[a-z]+)?-\d)"
_A = r"(?P<account>\d{12})"
_DNS = r"(?:amazonaws\.(?:com(?:\.cn)?|eu)|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
_DUAL = r"(?:api\.aws|api\.amazonwebservices\.com\.cn)"
_ON = r"on\.(?:aws|amazonwebservices\.com\.cn)"
_OCI_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"))

Name = Callable[[HttpRequest, Target], str]
Parts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """One such host. `parts` are what its name says, `signing` the names that a credential scope may use.

    `name` gives the operation, `resource` what stands behind the account in its ARN; both raise Refusal.
    """

    service: str
    signing: tuple[str, ...]
    region: str | None
    account: str | None
    parts: Parts
    name: Name
    resource: Callable[[Parts, HttpRequest, Target], str]

    def parameters(self, request: HttpRequest, target: Target) -> dict[str, str]:
        """What a rule may test: method, path, query keys apart, and the parts of the host's name."""
        return {**self.parts, "Method": request.method, "Path": "/" + "/".join(target.segments)}

    def need(self, operation: str, partition: str, request: HttpRequest, target: Target) -> Need:
        """What the call needs. The account is the host's; a host without one could belong to anybody."""
        resource = self.resource(self.parts, request, target)
        arn = f"arn:{partition}:{self.service}:{self.region or ''}:{self.account or '*'}:{resource}"
        known = self.account is not None and "*" not in resource
        return Need(f"{self.service}:{operation}", arn, f"{self.service}:{operation}", known)


def _unknown(what: str) -> Refusal:
    return Refusal("unknown-operation", f"The request is none of {what}.")


def _always(operation: str) -> Name:
    return lambda request, target: operation


def _by_method(request: HttpRequest, target: Target) -> str:
    return f"ESHttp{request.method.capitalize()}"


def _git(request: HttpRequest, target: Target) -> str:
    """Git's smart HTTP protocol."""
    services = [value for key, value in target.pairs if key == "service"]
    asked = {"git-upload-pack": "GitPull", "git-receive-pack": "GitPush"}
    if request.method == "POST" and not target.pairs and (found := asked.get(target.segments[-1])):
        return found
    if request.method == "GET" and target.segments[-2:] == ("info", "refs") and len(services) == 1:
        return asked.get(services[0]) or _raise("git's")
    raise _unknown("git's fetches and pushes")


def _raise(what: str) -> str:
    raise _unknown(what)


def _registry(request: HttpRequest, target: Target) -> str:
    """The OCI distribution specification, in ECR's actions."""
    writes = request.method not in ("GET", "HEAD")
    kinds = [part for part in target.segments if part in ("manifests", "blobs", "tags", "referrers")]
    if target.segments[0] != "v2" or request.method not in _OCI_METHODS or len(kinds) > 1:
        raise _unknown("the OCI distribution specification")
    if not kinds and not writes and target.segments in (("v2",), ("v2", "")):
        return "GetAuthorizationToken"
    match kinds[0] if kinds else "", request.method:
        case "manifests" | "blobs", "DELETE":
            return "BatchDeleteImage"
        case "manifests", "PUT":
            return "PutImage"
        case "manifests", "GET" | "HEAD":
            return "BatchGetImage"
        case "blobs", "GET" | "HEAD" if "uploads" not in target.segments:
            return "GetDownloadUrlForLayer"
        case "blobs", method if "uploads" in target.segments:
            return {"POST": "InitiateLayerUpload", "PUT": "CompleteLayerUpload"}.get(
                method, "UploadLayerPart"
            )
        case "tags" | "referrers", "GET" | "HEAD":
            return "ListImages"
    raise _unknown("the OCI distribution specification")


def _packages(request: HttpRequest, target: Target) -> str:
    if request.method in ("GET", "HEAD"):
        return "ReadFromRepository"
    if request.method in ("PUT", "POST"):
        return "PublishPackageVersion"
    raise _unknown("CodeArtifact's reads and publications")


def _agent(request: HttpRequest, target: Target) -> str:
    """What the SSM agent asks its channels."""
    found = re.fullmatch(r"v1/(control|data)-channel/[\w.:-]+", "/".join(target.segments))
    if found:
        return f"Open{found[1].capitalize()}Channel"
    wanted = request.values("x-amz-target")
    if len(wanted) == 1 and (action := re.fullmatch(r"[A-Za-z]+\.([A-Za-z]+)", wanted[0])):
        return action[1]
    raise _unknown("the agent's channels")


def _repository(parts: Parts, request: HttpRequest, target: Target) -> str:
    kinds = [
        i for i, part in enumerate(target.segments) if part in ("manifests", "blobs", "tags", "referrers")
    ]
    return "repository/" + ("/".join(target.segments[1 : kinds[0]]) if kinds else "*")


def _package_repository(parts: Parts, request: HttpRequest, target: Target) -> str:
    name = target.segments[1] if len(target.segments) > 1 else "*"
    return f"repository/{parts['Domain']}/{name}"


def _git_repository(parts: Parts, request: HttpRequest, target: Target) -> str:
    return target.segments[2] if target.segments[:2] == ("v1", "repos") and len(target.segments) > 2 else "*"


def _api(parts: Parts, request: HttpRequest, target: Target) -> str:
    stage, *rest = target.segments
    return "/".join((parts["ApiId"], stage or "*", request.method, *rest))


def _domain(parts: Parts, request: HttpRequest, target: Target) -> str:
    return f"domain/{parts['Domain']}/{'/'.join(target.segments)}"


def _fixed(text: str) -> Callable[[Parts, HttpRequest, Target], str]:
    return lambda parts, request, target: text.format(**parts)


_SITES = [
    (re.compile(pattern), service, signing, name, resource)
    for pattern, service, signing, name, resource in (
        (rf"{_A}\.dkr[.-]ecr(?:-fips)?\.{_R}\.(?:{_DNS}|{_ON})", "ecr", (), _registry, _repository),
        (r"public\.ecr\.aws", "ecr-public", (), _registry, _repository),
        (
            rf"(?P<Domain>[a-z][a-z0-9-]*)-{_A}\.d\.codeartifact\.{_R}\.(?:{_DNS}|on\.aws)",
            *("codeartifact", (), _packages, _package_repository),
        ),
        (rf"git-codecommit(?:-fips)?\.{_R}\.{_DNS}", "codecommit", ("codecommit",), _git, _git_repository),
        (
            rf"(?P<ApiId>[a-z0-9]+)(?:-vpce-[0-9a-z]+)?\.execute-api\.{_R}\.{_DNS}",
            *("execute-api", ("execute-api",), _always("Invoke"), _api),
        ),
        (
            rf"(?P<UrlId>[a-z0-9]+)\.lambda-url\.{_R}\.{_ON}",
            *("lambda", ("lambda",), _always("InvokeFunctionUrl"), _fixed("function:*")),
        ),
        (
            rf"(?P<ApiId>[a-z0-9]+)\.(?:ddpg\.)?appsync-(?:realtime-)?api\.{_R}\.(?:{_DNS}|{_DUAL})",
            *("appsync", ("appsync",), _always("GraphQL"), _fixed("apis/*")),
        ),
        (
            rf"(?P<ClusterId>[0-9A-Fa-f]{{32}})\.(?:[a-z0-9]+\.)?{_R}\.eks\.(?:{_DNS}|{_DUAL})",
            *("eks", (), _always("AccessKubernetesApi"), _fixed("cluster/*")),
        ),
        (
            rf"(?:search|vpc)-(?P<Domain>[a-z][a-z0-9-]+)-[a-z0-9]+\.{_R}\.(?:es\.{_DNS}|on\.aws)",
            *("es", ("es",), _by_method, _domain),
        ),
        (
            rf"(?P<CollectionId>[a-z0-9]+)\.{_R}\.aoss\.(?:{_DNS}|{_ON})",
            *("aoss", ("aoss",), _always("APIAccessAll"), _fixed("collection/{CollectionId}")),
        ),
        (
            rf"ssmmessages(?:-fips)?\.{_R}\.(?:{_DNS}|{_DUAL})",
            "ssmmessages",
            ("ssmmessages",),
            _agent,
            _fixed("*"),
        ),
        (
            rf"ec2messages(?:-fips)?\.{_R}\.(?:{_DNS}|{_DUAL})",
            "ec2messages",
            ("ec2messages",),
            _agent,
            _fixed("*"),
        ),
    )
]


def site_at(host: str) -> Site | None:
    """The site at `host`, None if there is none."""
    for pattern, service, signing, name, resource in _SITES:
        if found := pattern.fullmatch(host):
            said = {key: value for key, value in found.groupdict().items() if value is not None}
            region, account = said.pop("region", None), said.pop("account", None)
            return Site(service, signing, region, account, said, name, resource)
    return None


# OTLP exports share hosts with modelled services; service, method and path tell them apart.
OTLP = {
    ("xray", "POST", "v1/traces"): "PutTraceSegments",
    ("logs", "POST", "v1/logs"): "PutLogEvents",
    ("cloudwatch", "POST", "v1/metrics"): "PutMetricData",
}
