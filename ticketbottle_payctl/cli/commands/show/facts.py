"""The facts of ``payctl show`` for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.broker.remedies import DeliveryRemedy
from ticketbottle_payctl.facts import Count, Keywords
from ticketbottle_payctl.jobs.show import Mark, Remedy, SettledBy, VerdictKind

STEP_WORDS = {
    "payment_created": "payment created",
    "payment_settled": "payment settled",
    "callback": "callback",
    "event_written": "event written",
    "event_published": "event published",
    "event_replayed": "event replayed",
    "record": "in Kafka",
}


class AdviceFacts(TypedDict):
    """A command to type next."""

    command: str
    why: str


class VerdictFacts(TypedDict):
    """How the order stands, or one more finding about it."""

    kind: Annotated[str, Keywords(enum=[*VerdictKind])]
    mark: Annotated[str, Keywords(enum=[*Mark])]
    """good: nothing is open; open: something is on its way or a person should look; bad: somebody must act."""
    text: str
    """The sentence that people read."""
    at: datetime | None
    """When the deciding thing happened, UTC."""
    paid: int | None
    """What this callback or answer says was paid, whole units."""
    receipt_id: str | None
    event_id: str | None
    blocked_by: str | None
    """The earlier event of the payment that the event waits for."""
    tries: Count
    """How often the event, or the one that it waits for, was tried and failed."""
    due: datetime | None
    """The next try, UTC."""
    readers: Sequence[str] | None
    """Consumer groups that have read past the record; null if the brokers do not say."""
    behind: Sequence[str]
    """Consumer groups of the partition that have not read the record."""
    remedy: Annotated[str, Keywords(enum=[*Remedy, *DeliveryRemedy])] | None
    """What a person must do, if no command does it."""
    todo: str | None
    """The same as a sentence."""


class ShowFacts(TypedDict):
    """The payment; null if there is no row of it."""

    payment_id: str | None
    order_code: str | None
    status: str | None
    amount: int | None
    """Whole units of the currency."""
    currency: str | None
    provider: str | None
    provider_transaction_id: str | None
    next: Sequence[AdviceFacts]
    """What to type next."""
    verdict: NotRequired[VerdictFacts]
    """How the order stands."""
    also: NotRequired[Sequence[VerdictFacts]]
    """Other findings, the most urgent first."""
    paid: NotRequired[int | None]
    """What the latest success says was paid, whole units; amount is what was asked for."""
    settled_by: NotRequired[Annotated[str, Keywords(enum=[*SettledBy])] | None]
    """Who reported the result that settled the payment, if payctl settled it."""


class StepItem(TypedDict):
    """Something that happened."""

    at: datetime
    """UTC."""
    kind: Annotated[str, Keywords(enum=[*STEP_WORDS])]
    id: str
    """The id of the payment, callback or event."""
    facts: Mapping[str, object]
    """What it says, by its kind."""
