"""Define types for the JSON output of ``payctl show``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy
from ticketbottle_payctl.facts import Count, Keywords
from ticketbottle_payctl.jobs.order import Mark, Remedy, SettledBy, VerdictKind

STEP_WORDS = {
    "payment_created": "payment created",
    "payment_settled": "payment settled",
    "callback": "callback",
    "event_written": "event written",
    "event_published": "event published",
    "event_replayed": "event replayed",
    "closed": "closed",
    "record": "in Kafka",
}


class AdviceFacts(TypedDict):
    """A command to run next."""

    command: str
    why: str


class VerdictFacts(TypedDict):
    """The state of the order, or another finding about it."""

    kind: Annotated[str, Keywords(enum=[*VerdictKind])]
    mark: Annotated[str, Keywords(enum=[*Mark])]
    """good: nothing is open; open: something is in progress or needs a check; bad: the operator must act."""
    text: str
    """The finding as a sentence."""
    at: datetime | None
    """When the order reached this state (UTC)."""
    paid: int | None
    """The amount paid, as reported by the callback or the gateway's response, in whole units of the currency."""
    receipt_id: str | None
    event_id: str | None
    blocked_by: str | None
    """The id of the earlier event that this event waits for. Both events belong to the same payment."""
    tries: Count
    """The number of failed attempts to send this event or, if it is blocked, the event that blocks it."""
    due: datetime | None
    """When the next attempt is due (UTC)."""
    sent_before: NotRequired[datetime | None]
    """When the event was last sent before an operator requeued it (UTC), or null if it was never sent.

    Even if it was sent, the order service may not have received it.
    """
    readers: Sequence[str] | None
    """The consumer groups that have read the record; null if the brokers do not report this."""
    behind: Sequence[str]
    """The consumer groups that read the partition, but have not yet read the record."""
    remedy: Annotated[str, Keywords(enum=[*Remedy, *DeliveryRemedy])] | None
    """What the operator must do, if no command can do it."""
    todo: str | None
    """What the operator must do, as a sentence."""
    closed_by_run: NotRequired[str | None]
    """The run in which a person closed the finding, or null."""


class NamedEventFacts(TypedDict):
    """The event whose id the operator gave."""

    id: str
    event_type: str
    state: Annotated[str, Keywords(enum=["pending", "dead", "published"])]
    blocked: bool
    """Whether an earlier dead event of the same payment blocks the event."""
    superseded: bool
    """Whether the payment is COMPLETED now, so that a message about its failure would take the tickets away."""
    repeats: NotRequired[bool]
    """Whether the event is dead, and the payment's success was already sent, so that no customer waits for it."""
    closed: bool
    """Whether a person has closed this dead event."""
    closed_by_run: str | None
    """The run in which a person closed the event, or null."""
    text: str
    """The event's state as a sentence."""


class ShowFacts(TypedDict):
    """The payment and the verdict. The payment's fields are null if the database has no row for the payment."""

    payment_id: str | None
    order_code: str | None
    status: str | None
    amount: int | None
    """The order's amount in whole units of the currency."""
    currency: str | None
    provider: str | None
    provider_transaction_id: str | None
    next: Sequence[AdviceFacts]
    """The commands to run next."""
    verdict: NotRequired[VerdictFacts]
    """The state of the order."""
    also: NotRequired[Sequence[VerdictFacts]]
    """Other findings, sorted by their importance for the customer, most important first."""
    paid: NotRequired[int | None]
    """The amount that was paid and accepted, in whole units; null if no payment was accepted."""
    refused_amounts: NotRequired[Sequence[int]]
    """The amounts that payctl refused, in whole units, earliest first."""
    settled_by: NotRequired[Annotated[str, Keywords(enum=[*SettledBy])] | None]
    """If payctl settled the payment: the source of the result."""
    repeated: NotRequired[Sequence[NamedEventFacts]]
    """The harmless dead events that repeat a success which was sent, and that no person has closed."""
    event: NotRequired[NamedEventFacts | None]
    """The event whose id was given; null if no event id was given."""


class StepItem(TypedDict):
    """A step in the history of the payment."""

    at: datetime
    """When the step happened (UTC)."""
    kind: Annotated[str, Keywords(enum=[*STEP_WORDS])]
    id: str
    """The id of the payment, callback or event."""
    facts: Mapping[str, object]
    """The details of the step. The fields depend on the kind."""
