"""The admin API's dispatcher, and its description."""

from __future__ import annotations

import asyncio
from typing import Any

import jsonschema
import pytest
from hold_world import ALICE, BOB, DAVE, World, run
from test_holds_people import GRANTING, held, stop

from callgate.approvals.api import ROUTES, handle, openapi

DOCUMENT = openapi()


def check(model: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{model}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_a_hold_can_be_listed_shown_and_answered_and_answers_are_as_described() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world)
        status, listed = await handle("GET", "/v1/approvals", {}, ALICE, world.holds)
        assert (status, [each["id"] for each in listed["approvals"]]) == (200, [hold_id])
        check("Approvals", listed)
        status, shown = await handle("GET", f"/v1/approvals/{hold_id}", {}, ALICE, world.holds)
        check("Approval", shown)
        body = {"reason": "fine\x1b[2J"}
        status, answer = await handle("POST", f"/v1/approvals/{hold_id}/approve", body, ALICE, world.holds)
        assert (status, answer["state"], answer["reason"]) == (200, "approved", "fine\\x1b[2J")
        check("Approval", answer)
        await task
        status, answer = await handle("POST", f"/v1/approvals/{hold_id}/deny", {}, BOB, world.holds)
        assert (status, answer["error"]) == (409, "hold-decided")
        check("Error", answer)
        status, listed = await handle("GET", "/v1/approvals?state=used", {}, ALICE, world.holds)
        assert len(listed["approvals"]) == 1
        check("Approvals", listed)

    run(main())


def test_grants_are_listed_and_taken_back() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, terms=(GRANTING,))
        subscription = world.holds.subscribe()
        await handle("POST", f"/v1/approvals/{hold_id}/approve", {}, ALICE, world.holds)
        await task
        status, listed = await handle("GET", "/v1/grants", {}, ALICE, world.holds)
        check("Grants", listed)
        (grant,) = listed["grants"]
        assert (await handle("DELETE", f"/v1/grants/{grant['id']}", {}, DAVE, world.holds))[0] == 403
        status, answer = await handle(
            "DELETE", f"/v1/grants/{grant['id']}", {"reason": "x"}, BOB, world.holds
        )
        assert (status, answer["state"]) == (200, "revoked")
        check("Revoked", answer)
        for _ in range(4):
            check("Event", await anext(subscription))

    run(main())


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/v1/approvals/hold-0000000000", {}, 404),
        ("GET", "/v1/approvals/../secrets", {}, 404),
        ("GET", "/v1/approvals/a%2fb", {}, 404),
        ("GET", "/v1/nothing", {}, 404),
        ("PUT", "/v1/approvals", {}, 404),
        ("POST", "/v1/approvals/hold-0000000000/approve", {}, 404),
        ("POST", "/v1/approvals/hold-0000000000/approve", {"reason": 7}, 400),
        ("POST", "/v1/approvals/hold-0000000000/approve", {"reason": "x" * 1001}, 400),
        ("POST", "/v1/approvals/hold-0000000000/approve", {"verdict": "deny"}, 400),
        ("POST", "/v1/approvals/hold-0000000000/use", {}, 404),
        ("DELETE", "/v1/grants/grant-0000000000", {}, 404),
        ("GET", "/v1/events", {}, 404),
    ],
)
def test_what_is_not_described_is_refused(
    method: str, target: str, body: dict[str, Any], status: int
) -> None:
    async def main() -> None:
        world = World()
        told, answer = await handle(method, target, body, ALICE, world.holds)
        assert told == status
        check("Error", answer)
        await world.holds.close()

    run(main())


def test_me_and_undelivered_are_as_described() -> None:
    async def main() -> None:
        world = World()
        _, me = await handle("GET", "/v1/me", {}, BOB, world.holds)
        assert me == {"name": "bob", "groups": ["oncall", "security"], "via": "token"}
        check("Me", me)
        check("Undelivered", (await handle("GET", "/v1/undelivered", {}, BOB, world.holds))[1])
        assert (await handle("GET", "/openapi.json", {}, BOB, world.holds))[1] == DOCUMENT

    run(main())


def test_the_description_covers_every_route_and_resolves() -> None:
    described = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(route.path, route.method) for route in ROUTES}
    operations = [op["operationId"] for methods in DOCUMENT["paths"].values() for op in methods.values()]
    assert len(set(operations)) == len(operations)
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("description"), name

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [v for k, v in value.items() if k == "$ref"] + [
                r for v in value.values() for r in references(v)
            ]
        return [r for v in value for r in references(v)] if isinstance(value, list) else []

    found = {each.rpartition("/")[2] for each in references(DOCUMENT)}
    assert found <= DOCUMENT["components"]["schemas"].keys()


def test_a_waiting_call_is_seen_to_wait() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world)
        await asyncio.sleep(1)
        _, shown = await handle("GET", f"/v1/approvals/{hold_id}", {}, ALICE, world.holds)
        assert (shown["attemptsWaiting"], shown["secondsLeft"]) == (1, 899)
        await stop(world, task)

    run(main())
