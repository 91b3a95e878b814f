"""How approvers prove who they are: personal tokens, tokens of their own issuer, nothing of a runner's."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from callgate.approvals import ApprovalSettings, Door, Person
from callgate.approvals.door import new_token
from callgate.call import Refusal
from local_issuer import SigningKey, github_claims, jwks, times

KEY = SigningKey("sso", "ES256")
RUNNERS = SigningKey("ci", "ES256")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_bytes(jwks(KEY))
    return path


def settings(keys_file: Path | None = None, token_hash: str | None = None) -> ApprovalSettings:
    oidc = {
        "name": "sso",
        "url": "https://sso.example",
        "audience": "callgate-approvers",
        "algorithms": ["ES256"],
        "claims": {"email": "email"},
    }
    return ApprovalSettings.model_validate(
        {
            "approvers": {
                "alice": {"oidc_subject": "alice@acme.example"},
                "bob": {"token_hash": token_hash} if token_hash else {},
            },
            "groups": {"oncall": ["alice", "bob"]},
            **({"oidc": {**oidc, "keys_file": str(keys_file)}, "oidc_claim": "email"} if keys_file else {}),
        }
    )


def enter(door: Door, token: str) -> Person:
    async def main() -> Person:
        door.start()
        try:
            return await door.bearer(token)
        finally:
            await door.close()

    return asyncio.run(main())


def refused(door: Door, token: str) -> Refusal:
    with pytest.raises(Refusal) as told:
        enter(door, token)
    return told.value


def claims(**more: Any) -> dict[str, Any]:
    base = {
        "iss": "https://sso.example",
        "aud": "callgate-approvers",
        "sub": "u1",
        "email": "alice@acme.example",
    }
    return {**base, **times(300), **more}


def test_a_personal_token_opens_for_its_owner_and_only_its_hash_is_kept() -> None:
    token, digest = new_token()
    person = enter(Door(settings(token_hash=digest)), token)
    assert (person.name, person.groups, person.via) == ("bob", {"oncall"}, "token")
    assert token not in repr(settings(token_hash=digest))
    assert digest not in repr(settings(token_hash=digest))


@pytest.mark.parametrize(
    "change", ["", "x", "cgp_", " ", "\u00e9", "\ud800", "x" * 9000, "cgs_session-handle", "a.b.c"]
)
def test_what_is_no_token_of_an_approver_opens_nothing(change: str) -> None:
    _, digest = new_token()
    assert refused(Door(settings(token_hash=digest)), change).status == 401


def test_a_token_with_one_more_character_opens_nothing() -> None:
    token, digest = new_token()
    assert refused(Door(settings(token_hash=digest)), token + "A").status == 401
    assert refused(Door(settings(token_hash=digest)), digest).status == 401


def test_a_token_of_the_approvers_issuer_opens_for_whom_it_names(keys_file: Path) -> None:
    person = enter(Door(settings(keys_file)), KEY.token(claims()))
    assert (person.name, person.via) == ("alice", "oidc")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"aud": "callgate"}, 401),
        ({"iss": "https://token.actions.githubusercontent.com"}, 401),
        ({"exp": int(time.time()) - 1, "iat": int(time.time()) - 100}, 401),
        ({"email": "Alice@acme.example"}, 403),
        ({"email": "alice@acme.example\n"}, 401),
        ({"email": ["alice@acme.example"]}, 403),
        ({"email": "mallory@acme.example"}, 403),
        ({"email": None}, 401),
    ],
)
def test_any_other_token_does_not(keys_file: Path, change: dict[str, Any], status: int) -> None:
    assert refused(Door(settings(keys_file)), KEY.token(claims(**change))).status == status


@pytest.mark.case("E04")
def test_a_runners_token_opens_nothing(keys_file: Path) -> None:
    token = RUNNERS.token({**github_claims(), "email": "alice@acme.example"})
    assert refused(Door(settings(keys_file)), token).status == 401
    assert refused(Door(settings()), token).status == 401
    assert refused(Door(settings(keys_file)), RUNNERS.token(claims(), kid="sso")).status == 401
