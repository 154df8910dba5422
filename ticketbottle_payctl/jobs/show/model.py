"""The values of ``payctl show``: the verdict, the steps and the advice. Nothing is decided or drawn here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.broker.remedies import DeliveryRemedy
from ticketbottle_payctl.formats import command_line
from ticketbottle_payctl.store.payments.history import EventRow, PaymentRow, ReceiptRow


class Mark(StrEnum):
    """How an order stands: nothing is open, something is on its way, or somebody must act."""

    GOOD = "good"
    OPEN = "open"
    BAD = "bad"


class VerdictKind(StrEnum):
    """How an order stands, in one word."""

    NOT_PAID = "not_paid"
    NO_CALLBACK = "no_callback"
    IN_PROGRESS = "in_progress"
    WRONG_AMOUNT = "wrong_amount"
    OTHER_PROVIDER = "other_provider"
    UNREADABLE = "unreadable"
    AMBIGUOUS = "ambiguous"
    MONEY_HELD = "money_held"
    UNDOCUMENTED_CODE = "undocumented_code"
    NOT_APPLIED = "not_applied"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_STATUS = "unknown_status"
    TEST_PING = "test_ping"
    NO_EVENT = "no_event"
    CLEANED_UP = "cleaned_up"
    PAST_RETENTION = "past_retention"
    DEAD = "dead"
    BLOCKED = "blocked"
    BEHIND = "behind"
    RETRYING = "retrying"
    WAITING = "waiting"
    OVERDUE = "overdue"
    PUBLISHED = "published"
    UNREAD = "unread"
    NOT_IN_KAFKA = "not_in_kafka"
    ENDED = "ended"
    RELEASED_AFTER_SUCCESS = "released_after_success"
    LATE_MONEY = "late_money"
    SECOND_PAYMENT = "second_payment"
    CONTRADICTED = "contradicted"
    REFUNDED = "refunded"


class Remedy(StrEnum):
    """What a person must do, if no command does it."""

    COMPARE_AMOUNT = "compare_amount"
    REFUND = "refund"
    REFUND_SECOND = "refund_second"
    LOOK_IN_PORTAL = "look_in_portal"
    DECIDE_IN_PORTAL = "decide_in_portal"
    ASK_GATEWAY = "ask_gateway"
    ASK_ORDER_SERVICE = "ask_order_service"
    WATCH_READER = "watch_reader"
    UPGRADE = "upgrade"


class SettledBy(StrEnum):
    """Who told payctl the result of a payment."""

    CALLBACK = "callback"
    RECONCILE = "reconcile"


class Step(NamedTuple):
    """An occurrence or a state. ``kind`` is a fixed word, ``id`` the row's id, ``facts`` its content."""

    at: datetime
    kind: str
    id: str
    facts: Mapping[str, object]


class Advice(NamedTuple):
    """A command to type next, and the reason. ``changes`` says that the guard of the profile applies to it."""

    verb: tuple[str, ...]
    why: str
    operands: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    changes: bool = True

    @property
    def command(self) -> str:
        """The command without what a profile's guard asks for."""
        return command_line(self.verb, self.operands, self.options)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an order stands, and the facts that say so.

    ``ticket_is_due`` says that the customer paid, or may have paid. ``at`` is when the deciding thing happened.
    ``paid`` is what a genuine callback or the gateway's answer says was paid, in whole units. ``tries`` counts failed
    tries of ``event``, or of ``blocked_by``, the earlier event of the payment that it waits for; ``due`` is the next
    one. ``replays`` counts how often an operator requeued the event.
    """

    kind: VerdictKind
    mark: Mark
    at: datetime | None = None
    ticket_is_due: bool = True
    paid: int | None = None
    receipt: ReceiptRow | None = None
    event: EventRow | None = None
    blocked_by: EventRow | None = None
    tries: int = 0
    replays: int = 0
    due: datetime | None = None
    remedy: Remedy | DeliveryRemedy | None = None
    readers: tuple[str, ...] | None = None
    """The consumer groups that have read past the record; None if the brokers do not say."""
    behind: tuple[str, ...] = ()
    """The groups that have not."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is known of a payment, oldest first, and what that means. ``warnings`` name what could not be read.

    ``verdict`` is the most pressing finding; ``also`` has the others. ``paid`` is what the latest success says was
    paid, in whole units.
    """

    payment: PaymentRow | None
    verdict: Verdict
    steps: tuple[Step, ...]
    advice: tuple[Advice, ...]
    also: tuple[Verdict, ...] = ()
    paid: int | None = None
    settled_by: SettledBy | None = None
    warnings: tuple[str, ...] = field(default=())
