"""Who may answer a hold, and for which of its terms. Pure: nothing here reads a clock or a socket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from callgate.approvals.hold import Approval, Requester
from callgate.approvals.settings import ApprovalSettings
from callgate.decision import HoldTerms
from callgate.identity import Identity

EVERY_GROUP = "*"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has proved who they are on a listener that the proxy cannot reach.

    `via` says how (`unix:alice`, `token`, `oidc`, `mitmweb`). `aliases` are their other names.
    """

    name: str
    groups: frozenset[str]
    via: str
    aliases: frozenset[str] = field(default=frozenset(), repr=False)


def requester_of(settings: ApprovalSettings, identity: Identity) -> Requester:
    """Whose call it is: the principal, and every name that the verified claims give to the people behind
    it.
    """
    values = (identity.claims.get(claim) for claim in settings.requester_claims)
    people = {_fold(str(value)) for value in values if isinstance(value, str | int) and str(value).strip()}
    return Requester(identity.issuer, identity.principal_id, tuple(sorted(people)))


def local_person(settings: ApprovalSettings, user: str) -> Person:
    """The person behind the admin Unix socket, whose peer is the local account `user`."""
    for name, approver in settings.approvers.items():
        if approver.unix_user == user:
            return person_named(settings, name, via=f"unix:{user}")
    return Person(f"unix:{user}", frozenset(settings.local_groups), f"unix:{user}", frozenset({user}))


def person_named(settings: ApprovalSettings, name: str, *, via: str) -> Person:
    """The configured approver `name`, who came in by `via`. Raises KeyError."""
    approver = settings.approvers[name]
    groups = frozenset(group for group, members in settings.groups.items() if name in members)
    also = {approver.unix_user, approver.oidc_subject} - {None}
    return Person(name, groups, via, frozenset(approver.aliases) | frozenset(str(each) for each in also))


def is_own(person: Person, requester: Requester) -> bool:
    """The person stands behind the call. Names are compared without regard to case: a doubt counts as one's
    own.
    """
    names = {_fold(name) for name in (person.name, *person.aliases)}
    return not names.isdisjoint({_fold(each) for each in (*requester.people, requester.principal_id)})


def may_answer(groups: Iterable[str], terms: HoldTerms) -> bool:
    """A member of `groups` has a say under these terms."""
    groups = set(groups)
    return EVERY_GROUP in groups or not groups.isdisjoint(terms.by)


def missing(terms: HoldTerms, approvals: Iterable[Approval]) -> int:
    """How many approvals these terms still lack. A person counts once, however many groups they are in."""
    people = {each.person for each in approvals if may_answer(each.groups, terms)}
    return max(0, terms.count - len(people))


def _fold(name: str) -> str:
    return name.strip().casefold()
