"""Who has a say, what counts as one's own call, and what settings are refused."""

from __future__ import annotations

import dataclasses

import pytest
from hold_world import EPOCH, identity
from pydantic import ValidationError

from callgate.approvals import ApprovalSettings, Person, local_person, person_named
from callgate.approvals.approvers import is_own, may_answer, missing, requester_of
from callgate.approvals.hold import Approval, Requester
from callgate.decision import HoldTerms
from callgate.identity import IdentitySettings

SETTINGS = ApprovalSettings.model_validate(
    {
        "approvers": {
            "alice": {"aliases": ["alice-gh", "Alice@acme.example"], "unix_user": "al"},
            "bob": {"oidc_subject": "bob@acme.example"},
        },
        "groups": {"oncall": ["alice", "bob"], "security": ["bob"]},
        "local_groups": ["oncall"],
    }
)


@pytest.mark.parametrize(
    ("claim", "value", "own"),
    [
        ("actor", "alice", True),
        ("actor", "alice-gh", True),
        ("actor", "ALICE-GH", True),
        ("actor", " alice-gh ", True),
        ("user_email", "alice@acme.example", True),
        ("user_login", "al", True),
        ("actor", "alice-gh2", False),
        ("actor", "erin", False),
        ("repository", "alice", False),
        ("actor", "", False),
        ("actor", ["alice"], False),
    ],
)
def test_a_call_is_ones_own_if_a_verified_claim_names_one_by_any_name(
    claim: str, value: str, own: bool
) -> None:
    requester = requester_of(SETTINGS, dataclasses.replace(identity(), claims={claim: value}))
    assert is_own(person_named(SETTINGS, "alice", via="token"), requester) is own


def test_the_user_of_the_admin_socket_is_the_approver_with_that_account_or_a_local_operator() -> None:
    alice = local_person(SETTINGS, "al")
    assert (alice.name, alice.groups, alice.via) == ("alice", {"oncall"}, "unix:al")
    other = local_person(SETTINGS, "root")
    assert (other.name, other.groups, other.via) == ("unix:root", {"oncall"}, "unix:root")
    assert is_own(other, Requester("github", "p", ("root",)))


def approval(person: str, *groups: str) -> Approval:
    return Approval(person, groups, "token", "", EPOCH)


@pytest.mark.parametrize(
    ("terms", "approvals", "left"),
    [
        (HoldTerms("r", ("oncall",)), [], 1),
        (HoldTerms("r", ("oncall",)), [approval("a", "oncall")], 0),
        (HoldTerms("r", ("oncall",)), [approval("a", "security")], 1),
        (HoldTerms("r", ("oncall",)), [approval("a", "*")], 0),
        (HoldTerms("r", ("oncall", "security"), 2), [approval("a", "oncall", "security")], 1),
        (HoldTerms("r", ("oncall", "security"), 2), [approval("a", "oncall"), approval("b", "security")], 0),
        (HoldTerms("r", ("oncall",), 2), [approval("a", "oncall"), approval("b", "security")], 1),
        (HoldTerms("r", (), 1), [approval("a", "oncall")], 1),
    ],
)
def test_terms_are_met_by_distinct_people_of_their_groups(
    terms: HoldTerms, approvals: list[Approval], left: int
) -> None:
    assert missing(terms, approvals) == left


def test_nobody_but_a_member_has_a_say() -> None:
    terms = HoldTerms("r", ("oncall",))
    assert may_answer({"oncall"}, terms)
    assert not may_answer({"oncal", "ONCALL", ""}, terms)
    assert not may_answer(Person("x", frozenset(), "token").groups, terms)


ISSUER = {"name": "sso", "url": "https://sso.example", "audience": "callgate", "claims": {"email": "email"}}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"groups": {"oncall": ["nobody"]}}, "nobody"),
        ({"approvers": {"a": {"unix_user": "x"}, "b": {"unix_user": "x"}}}, "has the same one"),
        ({"approvers": {"a": {"token_hash": "plain-text-token"}}}, "pattern"),
        ({"approvers": {"unix:root": {}}}, "pattern"),
        ({"approvers": {"a": {"token": "x"}}}, "Extra inputs"),
        ({"attempt": "0s"}, "greater than 0"),
        ({"oidc": ISSUER, "oidc_claim": "mail"}, "mail"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ApprovalSettings.model_validate(settings)


def test_approvers_and_runners_cannot_share_issuer_and_audience() -> None:
    settings = ApprovalSettings.model_validate({"oidc": ISSUER})
    shared = IdentitySettings.model_validate({"issuer": [{**ISSUER, "name": "ci"}]})
    with pytest.raises(ValueError, match="same url and audience"):
        settings.check_apart(shared)
    settings.check_apart(
        IdentitySettings.model_validate({"issuer": [{**ISSUER, "name": "ci", "audience": "gw"}]})
    )
