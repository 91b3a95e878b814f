"""The admin API's part about approvals: routes as data, one dispatcher, and their OpenAPI 3.1 description.

The listener authenticates the person and passes method, target and parsed JSON body in; status and JSON come
out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from callgate.approvals import models
from callgate.approvals.approvers import Person
from callgate.approvals.describe import plain
from callgate.approvals.holds import Holds
from callgate.approvals.webhooks import Webhooks
from callgate.call import Refusal
from callgate.misfit import dotted, explain


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `query` names its parameters; `here`: it is answered by `handle`, not by the listener."""

    method: str
    path: str
    summary: str
    answer: type[BaseModel]
    body: type[models.Answer] | None = None
    query: tuple[str, ...] = ()
    here: bool = True

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The parameters of `path` if this is its route."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[A-Za-z0-9._-]{1,80})", self.path)
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found and method == self.method else None


ROUTES = (
    Route("GET", "/v1/approvals", "Holds, oldest first: the open ones unless `state` says otherwise.",
          models.Approvals, query=("state",)),
    Route("GET", "/v1/approvals/{id}", "One hold.", models.Approval),
    Route("POST", "/v1/approvals/{id}/approve", "Approve a hold.", models.Approval, models.Answer),
    Route("POST", "/v1/approvals/{id}/deny", "Deny a hold; one denial ends it.",
          models.Approval, models.Answer),
    Route("DELETE", "/v1/approvals/{id}", "Take back an approval that no call has used.",
          models.Approval, models.Answer),
    Route("GET", "/v1/grants", "Grants in force.", models.Grants),
    Route("DELETE", "/v1/grants/{id}", "Take back a grant.", models.Revoked, models.Answer),
    Route("GET", "/v1/undelivered", "Events that webhooks did not take, newest last.", models.Undelivered),
    Route("GET", "/v1/me", "Who the caller is, and in which groups.", models.Me),
    Route("GET", "/openapi.json", "This description.", models.Document),
    Route("GET", "/v1/events", "What happens to holds and grants from now on, one JSON object a line.",
          models.Event, here=False),
)  # fmt: skip


async def handle(
    method: str,
    target: str,
    body: Mapping[str, Any],
    person: Person,
    holds: Holds,
    webhooks: Webhooks | None = None,
) -> tuple[int, Any]:
    """Answer a request of `person` to `target` (path, and query if any): HTTP status and JSON.

    Refusals are answers too: `{"error": code, "message": text}` with their status.
    """
    path, _, query = target.partition("?")
    try:
        route, an_id = _find(method, path)
        if route.path == "/v1/undelivered":
            return 200, {"undelivered": list(webhooks.dead) if webhooks else []}
        reason = route.body.model_validate(body).reason if route.body else ""
        return 200, await _answer(route, an_id, dict(parse_qsl(query)), plain(reason, 1000), person, holds)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = f"{dotted(first['loc'])}: {explain(first, models.Answer)}"
        return 400, {"error": "bad-request", "message": message}
    except Refusal as refusal:
        return refusal.status, {"error": refusal.code, "message": refusal.detail}


def _find(method: str, path: str) -> tuple[Route, str]:
    for route in ROUTES:
        if route.here and (ids := route.match(method, path)) is not None:
            return route, ids.get("id", "")
    raise Refusal("not-found", "There is no such route.", status=404)


async def _answer(
    route: Route, an_id: str, query: Mapping[str, str], reason: str, person: Person, holds: Holds
) -> Any:
    match route.method, route.path:
        case "GET", "/v1/approvals":
            return {"approvals": holds.list(query.get("state"))}
        case "GET", "/v1/approvals/{id}":
            return holds.show(an_id)
        case "POST", "/v1/approvals/{id}/approve":
            return await holds.decide(an_id, person, "approve", reason)
        case "POST", "/v1/approvals/{id}/deny":
            return await holds.decide(an_id, person, "deny", reason)
        case "DELETE", _:
            return await holds.revoke(an_id, person, reason)
        case "GET", "/v1/grants":
            return {"grants": holds.grants()}
        case "GET", "/v1/me":
            return {"name": person.name, "groups": sorted(person.groups), "via": person.via}
        case _:
            return openapi()


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of `ROUTES`."""
    used = {model for route in ROUTES for model in (route.answer, route.body) if model} | {models.Error}
    ordered = sorted(used, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Callgate admin API: approvals", "version": "1"},
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A personal token, or an OIDC token of the approvers' issuer."
                    " On the Unix socket the peer's user is who asks, and none is needed.",
                }
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    def schema(model: type[BaseModel]) -> dict[str, Any]:
        return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}

    kind = "application/json" if route.here else "application/jsonl"
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "summary": route.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", route.path)
        ]
        + [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query],
        "responses": {
            "200": {"description": "As asked.", "content": {kind: schema(route.answer)}},
            "default": {"description": "Refused.", "content": {"application/json": schema(models.Error)}},
        },
    }
    if route.body:
        operation["requestBody"] = {"content": {"application/json": schema(route.body)}}
    return operation
