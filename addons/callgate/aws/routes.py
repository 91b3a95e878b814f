"""The routes of REST services as a trie of path segments: a literal goes before a label, a label before a
greedy one.

Follows Smithy's HTTP binding trait (routing by most specific pattern). Where operations share method and
path, query literals and required query keys and headers tell them apart; a set of operations that nothing on
the wire distinguishes comes back whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from callgate.aws.index import index
from callgate.aws.target import Target
from callgate.call import Refusal

_LABEL = re.compile(r"\{([^}+]+)(\+?)\}")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One way to an operation. `literals` are (key, value) of its query, `queries` and `headers` what it
    requires; `prefix` is the host prefix (`*` for a label of the caller's), `older` marks a URI of older
    releases.
    """

    service: str
    operation: str
    labels: tuple[str, ...]
    literals: tuple[tuple[str, str], ...] = ()
    queries: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    prefix: str = ""
    prefix_labels: tuple[str, ...] = ()
    older: bool = False
    conditions: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class _Node:
    """`greedy` are the ways on behind a greedy label: the number of segments that must follow it, and their
    node.
    """

    literal: dict[str, _Node] = field(default_factory=dict)
    label: _Node | None = None
    greedy: list[tuple[int, _Node]] = field(default_factory=list)
    routes: list[Route] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What routing found: the routes (more than one: wire twins) and the values of the path's labels."""

    routes: tuple[Route, ...]
    values: tuple[str, ...]


@lru_cache(maxsize=128)
def router(services: tuple[str, ...]) -> Mapping[str, _Node]:
    """One trie a method for the services that share a host."""
    roots: dict[str, _Node] = {}
    for name in services:
        service = index().services[name]
        if service.rest is None:
            continue
        for operation, row in service.operations.items():
            prefix = row[2] if len(row) > 2 else None
            required = row[3] if len(row) > 3 else None
            _insert(roots, row[0], row[1], name, operation, prefix or "", required or [], older=False)
        for method, uri, operation, *prefixes in service.older:
            _insert(roots, method, uri, name, operation, "".join(prefixes), [], older=True)
    return roots


def _insert(
    roots: dict[str, _Node],
    method: str,
    uri: str,
    service: str,
    operation: str,
    prefix: str,
    required: list[str],
    *,
    older: bool,
) -> None:
    path, _, query = uri.partition("?")
    literals = tuple(
        (key, value) for key, _, value in (part.partition("=") for part in query.split("&") if part)
    )
    queries = tuple(key[1:] for key in required if key.startswith("?"))
    headers = tuple(key for key in required if not key.startswith("?"))
    labels: list[str] = []
    route_node = roots.setdefault(method, _Node())
    segments = path.lstrip("/").split("/")
    for at, segment in enumerate(segments):
        label = _LABEL.fullmatch(segment)
        if label is not None:
            labels.append(label[1])
        route_node = _step(route_node, label, segment, len(segments) - at - 1)
    conditions = frozenset(
        [f"{key}={value}" for key, value in literals] + [f"{key}?" for key in queries] + list(headers)
    )
    route = Route(
        service, operation, tuple(labels), literals, queries, headers,
        re.sub(r"\{[^}]*\}", "*", prefix), tuple(name for name, _ in _LABEL.findall(prefix)),
        older, conditions,
    )  # fmt: skip
    route_node.routes = [*(route_node.routes or []), route]
    if len(segments) > 1 and segments[-1] == "":
        # Lambda's URIs end in a slash that not every SDK sends.
        bare = roots[method]
        for at, segment in enumerate(segments[:-1]):
            bare = _step(bare, _LABEL.fullmatch(segment), segment, len(segments) - at - 2)
        bare.routes = [*(bare.routes or []), route]


def _step(node: _Node, label: re.Match[str] | None, segment: str, left: int) -> _Node:
    """The node behind one segment of a template with `left` more to come."""
    if label is None:
        return node.literal.setdefault(segment, _Node())
    if not label[2]:
        if node.label is None:
            node.label = _Node()
        return node.label
    for count, behind in node.greedy:
        if count == left:
            return behind
    behind = _Node()
    node.greedy = sorted([*node.greedy, (left, behind)], key=lambda way: -way[0])
    return behind


def find(
    services: tuple[tuple[str, str], ...], method: str, target: Target, headers: Mapping[str, str]
) -> Found | None:
    """The routes that the request takes among `services` (each with the host prefix it stands at), None if
    there is none.

    Raises Refusal where two operations claim the request and neither is more specific.
    """
    root = router(tuple(dict.fromkeys(name for name, _ in services))).get(method)
    if root is None:
        return None
    prefixes = dict(services) if any(prefix for _, prefix in services) else None
    keys = {key: value for key, value in target.pairs}
    values: list[str] = []
    segments = target.segments
    slashed = target.slashed

    def select(routes: list[Route]) -> tuple[Route, ...]:
        if len(routes) == 1:
            route = routes[0]
            fits = _fits(route, keys, headers) and (prefixes is None or _at(route, services))
            return (route,) if fits else ()
        fitting = [
            route
            for route in routes
            if _fits(route, keys, headers) and (prefixes is None or _at(route, services))
        ]
        if len(fitting) < 2:
            return tuple(fitting)
        if any(not route.older for route in fitting):
            fitting = [route for route in fitting if not route.older]
        if any(route.literals for route in fitting):
            fitting = [route for route in fitting if route.literals]
        best = [
            route for route in fitting if not any(route.conditions < other.conditions for other in fitting)
        ]
        if len({route.conditions for route in best}) > 1:
            names = ", ".join(sorted(f"{route.service}:{route.operation}" for route in best))
            raise Refusal(
                "ambiguous-operation", f"The query and headers select more than one operation: {names}."
            )
        return tuple(best)

    def walk(node: _Node, at: int) -> tuple[Route, ...]:
        if at == len(segments):
            return select(node.routes) if node.routes else ()
        segment = segments[at]
        step = node.literal.get(segment)
        if step is not None and (routes := walk(step, at + 1)):
            return routes
        if node.label is not None and segment:
            values.append(segment)
            if routes := walk(node.label, at + 1):
                return routes
            values.pop()
        for left, behind in node.greedy:
            end = len(segments) - left
            if end > at and (segment or end > at + 1):
                values.append("/".join(segments[at:end]))
                if routes := walk(behind, end):
                    if slashed is not None and any(slashed[at:end]):
                        raise Refusal(
                            "ambiguous-path", "An encoded slash stands where slashes are part of a name."
                        )
                    return routes
                values.pop()
        return ()

    routes = walk(root, 0)
    return Found(routes, tuple(values)) if routes else None


def _fits(route: Route, keys: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    if not route.conditions:
        return True
    return (
        all(keys.get(key) == value for key, value in route.literals)
        and all(key in keys for key in route.queries)
        and all(name in headers for name in route.headers)
    )


def _at(route: Route, services: tuple[tuple[str, str], ...]) -> bool:
    """A host with a prefix serves the operations with that prefix; a host without one may serve any."""
    return any(name == route.service and prefix in ("", route.prefix) for name, prefix in services)
