"""Hosts of AWS that stand in no service model: registries, APIs and functions of customers, git, clusters.

Each gets the service and operation by which IAM knows the access (`execute-api:Invoke`, `es:ESHttpGet`), and
parameters of its own: Method and Path, and what the host says (ApiId, Domain, …).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callgate.aws import iam
from callgate.aws.target import Target
from callgate.call import HttpRequest, Need, Refusal

_R = r"(?P<region>[a-z]{2,4}-[a-z]+(?:-[a-z]+)?-\d)"
_A = r"(?P<account>\d{12})"
_DNS = r"(?:amazonaws\.(?:com(?:\.cn)?|eu)|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
_DUAL = r"(?:api\.aws|api\.amazonwebservices\.com\.cn)"
_ON = r"on\.(?:aws|amazonwebservices\.com\.cn)"
_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"))
_OCI = re.compile(
    r"v2/(?P<name>[^/]+(?:/[^/]+)*)"
    r"/(?:(?P<kind>manifests|blobs|referrers)/[^/]+|(?P<uploads>blobs/uploads)/[^/]*|(?P<list>tags)/list)"
)
_OCI_WORDS = frozenset(("manifests", "blobs", "tags", "referrers"))
_GIT = re.compile(r"v1/repos/(?P<name>[^/]+)/(?P<what>info/refs|git-upload-pack|git-receive-pack)")

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
        """What a rule may test: method, path and the parts of the host's name."""
        return {**self.parts, "Method": request.method, "Path": "/" + "/".join(target.segments)}

    def needs(self, operation: str, partition: str, request: HttpRequest, target: Target) -> tuple[Need, ...]:
        """What the call needs. The account is the host's; a host without one could belong to anybody."""
        asked = [(operation, self.resource(self.parts, request, target))]
        if operation == "InitiateLayerUpload" and any(key == "mount" for key, _ in target.pairs):
            # The layer is taken from another repository; without `from` the registry chooses one.
            sources = [value for key, value in target.pairs if key == "from"]
            asked += (("GetDownloadUrlForLayer", f"repository/{source}") for source in sources or ["*"])
        return tuple(self._need(name, resource, operation, partition) for name, resource in asked)

    def _need(self, name: str, resource: str, operation: str, partition: str) -> Need:
        action, source = f"{self.service}:{name}", f"{self.service}:{operation}"
        known = iam.find(action)
        access = known.access if known else None
        if known is not None and not known.templates:
            return Need(action, "*", source, True, access)
        arn = f"arn:{partition}:{self.service}:{self.region or ''}:{self.account or '*'}:{resource}"
        return Need(action, arn, source, self.account is not None and "*" not in resource, access)


def _unknown(what: str) -> Refusal:
    return Refusal("unknown-operation", f"The request is none of {what}.")


def _always(operation: str) -> Name:
    return lambda request, target: operation


def _by_method(request: HttpRequest, target: Target) -> str:
    if request.method not in _METHODS:
        raise _unknown("OpenSearch's reads and writes")
    return f"ESHttp{request.method.capitalize()}"


def _git(request: HttpRequest, target: Target) -> str:
    """Git's smart HTTP protocol, below /v1/repos/NAME."""
    asked = {"git-upload-pack": "GitPull", "git-receive-pack": "GitPush"}
    found = _GIT.fullmatch("/".join(target.segments))
    services = [value for key, value in target.pairs if key == "service"]
    operation = None
    if found and not target.slashed:
        if request.method == "POST" and not target.pairs:
            operation = asked.get(found["what"])
        elif request.method == "GET" and found["what"] == "info/refs" and len(services) == 1:
            operation = asked.get(services[0])
    if operation is None:
        raise _unknown("git's fetches and pushes")
    return operation


def _registry(request: HttpRequest, target: Target) -> str:
    """The OCI distribution specification, in ECR's actions."""
    path = "/".join(target.segments)
    if request.method == "GET" and path in ("v2", "v2/", "token", "token/"):
        return "GetAuthorizationToken"
    found = _OCI.fullmatch(path)
    # A repository that is named like a part of the path could be read in two ways.
    if found is None or target.slashed or not _OCI_WORDS.isdisjoint(found["name"].split("/")):
        raise _unknown("the OCI distribution specification")
    match found["kind"] or found["uploads"] or found["list"], request.method:
        case "manifests" | "blobs", "DELETE":
            return "BatchDeleteImage"
        case "manifests", "PUT":
            return "PutImage"
        case "manifests", "GET" | "HEAD":
            return "BatchGetImage"
        case "blobs", "GET" | "HEAD":
            return "GetDownloadUrlForLayer"
        case "blobs/uploads", "POST":
            return "InitiateLayerUpload"
        case "blobs/uploads", "PUT":
            return "CompleteLayerUpload"
        case "blobs/uploads", "GET" | "PATCH" | "DELETE":
            return "UploadLayerPart"
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
    found = re.fullmatch(r"v1/(control|data)-channel/[\w.:-]+", "/".join(target.segments), re.A)
    verb = {"GET": "Open", "POST": "Create"}.get(request.method)
    if found and verb:
        return f"{verb}{found[1].capitalize()}Channel"
    wanted = request.values("x-amz-target")
    if len(wanted) == 1 and (action := re.fullmatch(r"[A-Za-z0-9]+\.([A-Za-z]+)", wanted[0])):
        return action[1]
    raise _unknown("the agent's channels")


def _graph(request: HttpRequest, target: Target) -> str:
    """AppSync's GraphQL and Events APIs."""
    names = {
        "graphql": "GraphQL",
        "graphql/connect": "GraphQL",
        "graphql/realtime": "GraphQL",
        "event": "EventPublish",
        "event/realtime": "EventConnect",
    }
    operation = names.get("/".join(target.segments))
    if operation is None:
        raise _unknown("AppSync's")
    return operation


def _metrics(request: HttpRequest, target: Target) -> str:
    """The API of Prometheus, below /workspaces/ID/api/v1."""
    found = re.fullmatch(r"workspaces/[\w-]+/api/v1/(.+)", "/".join(target.segments), re.A)
    asked = found[1].partition("/")[0] if found else ""
    names = {
        "remote_write": "RemoteWrite",
        "query": "QueryMetrics",
        "query_range": "QueryMetrics",
        "query_exemplars": "QueryMetrics",
        "series": "GetSeries",
        "labels": "GetLabels",
        "label": "GetLabels",
        "metadata": "GetMetricMetadata",
    }
    if asked not in names or request.method not in ("GET", "POST"):
        raise _unknown("Prometheus's reads and writes")
    return names[asked]


def _workspace(parts: Parts, request: HttpRequest, target: Target) -> str:
    return "workspace/" + target.segments[1]


def _repository(parts: Parts, request: HttpRequest, target: Target) -> str:
    found = _OCI.fullmatch("/".join(target.segments))
    return f"repository/{found['name'] if found else '*'}"


def _package_repository(parts: Parts, request: HttpRequest, target: Target) -> str:
    """A repository, or some package of a format in it."""
    form, name = (*target.segments, "*")[:2]
    if request.method in ("GET", "HEAD"):
        return f"repository/{parts['Domain']}/{name or '*'}"
    return f"package/{parts['Domain']}/{name or '*'}/{form or '*'}/*"


def _git_repository(parts: Parts, request: HttpRequest, target: Target) -> str:
    return target.segments[2]


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
            *("appsync", ("appsync",), _graph, _fixed("apis/*")),
        ),
        (
            r"(?=.*\.eks(?:-cluster)?\.)(?P<ClusterId>[0-9A-Fa-f]{32})\.(?:[a-z0-9]+\.)?"
            rf"(?:eks-cluster\.)?{_R}\.(?:eks\.)?(?:{_DNS}|{_DUAL})",
            *("eks", (), _always("AccessKubernetesApi"), _fixed("cluster/*")),
        ),
        (
            rf"(?:search|vpc)-(?P<Domain>[a-z][a-z0-9-]+)-[a-z0-9]+\.(?:aos\.)?{_R}\.(?:es\.{_DNS}|{_ON})",
            *("es", ("es",), _by_method, _domain),
        ),
        (
            rf"(?P<CollectionId>[a-z0-9]+)\.{_R}\.aoss\.(?:{_DNS}|{_ON})",
            *("aoss", ("aoss",), _always("APIAccessAll"), _fixed("collection/{CollectionId}")),
        ),
        (rf"aps-workspaces(?:-fips)?\.{_R}\.{_DNS}", "aps", ("aps",), _metrics, _workspace),
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
