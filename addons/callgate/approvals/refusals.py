"""What an attempt is told that does not pass, for people who read the log of a job that failed."""

from __future__ import annotations

from callgate.approvals.attempt import Attempt
from callgate.approvals.hold import Hold, iso
from callgate.call import Refusal


def come_back(hold: Hold, attempt: Attempt) -> Refusal:
    """The attempt waited long enough: an SDK that has attempts left comes back, else its user must."""
    if hold.bound_to:
        told = f"Nobody approved {hold.id} in time; without a signed hash of its body it cannot be rerun."
        return Refusal("hold-final", told)
    if attempt.last:
        return Refusal("hold-final", _how_to_go_on(hold))
    return Refusal("hold-pending", _how_to_go_on(hold), status=503, retryable=True)


def left(superseded: bool) -> Refusal:
    """Nobody is there to read it."""
    if superseded:
        told = "A later attempt of the same call has taken the place of this one."
        return Refusal("attempt-superseded", told, status=503)
    return Refusal("client-gone", "The client left while its call was held.", status=503)


def closing(hold: Hold) -> Refusal:
    """The gateway stops; the hold outlives it."""
    told = f"The gateway is restarting. {_how_to_go_on(hold)}"
    return Refusal("gateway-stopping", told, status=503, retryable=True)


def too_large(hold: Hold) -> Refusal:
    """The body is not kept while people think: rerun once the hold is approved."""
    return Refusal("hold-large", f"The body is too large to wait with. {_how_to_go_on(hold)}")


def unhashed() -> Refusal:
    """The body is not kept while people think, and could not be known again when it comes back."""
    told = "A held call with a large body needs its hash in a signed x-amz-content-sha256, to be known again."
    return Refusal("hold-unhashed", told)


def closed(hold: Hold) -> Refusal:
    """The hold was answered, or its approval is gone, in a way that ends this attempt too."""
    why = f": {hold.reason}" if hold.reason else "."
    match hold.state:
        case "denied":
            return Refusal("hold-denied", f"{hold.id} was denied by {hold.by}{why}")
        case "used":
            told = f"{hold.id} was used by an earlier attempt of this call: see {hold.used_by}."
            return Refusal("hold-used", told)
        case "revoked":
            return Refusal("hold-revoked", f"The approval of {hold.id} was revoked by {hold.by}{why}")
        case "lapsed":
            return Refusal("hold-expired", f"The approval of {hold.id} ended at {iso(hold.deadline)} unused.")
        case _:
            told = f"{hold.id} was not approved by {_groups(hold)} until {iso(hold.deadline)}."
            return Refusal("hold-expired", told)


def _how_to_go_on(hold: Hold) -> str:
    until = iso(hold.deadline)
    if hold.state == "approved":
        return f"{hold.id} is approved: a rerun passes until {until}."
    return f"{hold.id} waits for approval by {_groups(hold)}: once approved, a rerun passes until {until}."


def _groups(hold: Hold) -> str:
    asked = (f"{term.count} of " * (term.count > 1) + " or ".join(term.by) for term in hold.terms)
    return " and ".join(dict.fromkeys(asked))
