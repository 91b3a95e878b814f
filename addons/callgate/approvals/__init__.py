"""The hold state machine, who may approve, how they are told."""

from callgate.approvals.approvers import Person, local_person, person_named
from callgate.approvals.attempt import Attempt, Ticket
from callgate.approvals.door import Door
from callgate.approvals.holds import Holds
from callgate.approvals.settings import ApprovalSettings, Approver
from callgate.approvals.webhooks import Webhooks

__all__ = [
    "ApprovalSettings",
    "Approver",
    "Attempt",
    "Door",
    "Holds",
    "Person",
    "Ticket",
    "Webhooks",
    "local_person",
    "person_named",
]
