"""Define the types of ``payctl show``: the verdict, the steps and the advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy
from ticketbottle_payctl.domain.causes import Cause, CauseKind, Publishing
from ticketbottle_payctl.domain.payment import OverdueKind
from ticketbottle_payctl.formats import command_line
from ticketbottle_payctl.store.payctl.runs import Closing, Run
from ticketbottle_payctl.store.payments.history import EventRow, PaymentRow
from ticketbottle_payctl.store.payments.receipt_rows import ReceiptRow


class Mark(StrEnum):
    """The severity of an order's state.

    GOOD: nothing is open. OPEN: something is in progress or might need the operator's attention. BAD: the operator must
    act.
    """

    GOOD = "good"
    OPEN = "open"
    BAD = "bad"


class VerdictKind(StrEnum):
    """The state of an order, as a fixed code."""

    NOT_PAID = "not_paid"
    NO_CALLBACK = OverdueKind.NO_CALLBACK.value
    IN_PROGRESS = OverdueKind.IN_PROGRESS.value
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
    UNKNOWN_TYPE = "unknown_type"
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
    LATE_FAILURE = "late_failure"
    RELEASED_AFTER_SUCCESS = "released_after_success"
    FAILED_BEFORE_SUCCESS = "failed_before_success"
    LATE_MONEY = "late_money"
    SECOND_PAYMENT = "second_payment"
    CONTRADICTED = "contradicted"
    REFUNDED = "refunded"


class Remedy(StrEnum):
    """The actions that the operator must perform, because no command can perform them."""

    COMPARE_AMOUNT = "compare_amount"
    REFUND = "refund"
    REFUND_SECOND = "refund_second"
    LOOK_IN_PORTAL = "look_in_portal"
    DECIDE_IN_PORTAL = "decide_in_portal"
    ASK_GATEWAY = "ask_gateway"
    ASK_ORDER_SERVICE = "ask_order_service"
    WRITE_EVENT = "write_event"
    WATCH_READER = "watch_reader"
    UPGRADE = "upgrade"


class SettledBy(StrEnum):
    """The sources of a payment's result: a callback, or the response to a status query."""

    CALLBACK = "callback"
    RECONCILE = "reconcile"


class Step(NamedTuple):
    """A step in a payment's history. ``kind`` is a fixed code. ``id`` and ``facts`` come from the step's row."""

    at: datetime
    kind: str
    id: str
    facts: Mapping[str, object]


class Advice(NamedTuple):
    """A command to run next, and the reason. ``changes`` is True if the profile's guard applies to the command."""

    verb: tuple[str, ...]
    why: str
    operands: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    changes: bool = True

    @property
    def command(self) -> str:
        """The command line, without the options that a profile's guard requires."""
        return command_line(self.verb, self.operands, self.options)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of an order, with the evidence for it.

    ``ticket_is_due`` is True if the customer has paid or might have paid. ``at`` is when the order reached this state.
    ``paid`` is the amount that a genuine callback or the gateway's response reports, in whole units. ``blocked_by`` is
    the earlier event of the payment that ``event`` waits for. ``tries`` is the number of failed attempts to send
    ``blocked_by``, or to send ``event`` if ``blocked_by`` is None. ``due`` is when the next attempt is due. ``replays``
    is how often an operator requeued ``event``. ``sent_before`` is when ``event`` was sent before a replay, or None.
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
    sent_before: datetime | None = None
    due: datetime | None = None
    remedy: Remedy | DeliveryRemedy | None = None
    readers: tuple[str, ...] | None = None
    """The consumer groups that have read past the event's record, or None if not all groups are known."""
    behind: tuple[str, ...] = ()
    """The consumer groups that have not read past the event's record."""
    transfers: int = 1
    """The number of transfers that this finding covers."""
    is_only_event: bool = False
    """Whether the event has an unknown type, and the payment has no event of a known type that reports its status."""
    cause: Cause | None = None
    """The cause that keeps a waiting event from being sent, or None if the database does not show it."""
    publishing: Publishing | None = None
    """Whether a publisher is running that can send a new event, or None if this was not read."""
    some_are_held: bool = False
    """Whether some overdue events are locked or were not accepted by the brokers. This event may be one of them."""
    closing: Closing | None = None
    """The run that recorded that a person has dealt with this finding."""
    is_overdue_payment: bool = False
    """Whether the payment has been PENDING for too long, and its gateway's callbacks do not say whether it is paid."""

    @property
    def is_overdue_try(self) -> bool:
        """Whether a failed event's next try is overdue.

        If a cause stops all events, it is only a pause between two runs.
        """
        of_all = self.cause is not None and self.cause.kind is not CauseKind.BETWEEN_RUNS
        return self.kind is VerdictKind.OVERDUE and self.tries > 0 and not of_all

    @property
    def is_about_another_event(self) -> bool:
        """Whether this finding is about an event of an unknown type, next to the order's own state."""
        return self.kind is VerdictKind.UNKNOWN_TYPE and not self.is_only_event

    @property
    def is_skipped_by_debezium(self) -> bool:
        """Whether the event is unsent and Debezium will not send it, because it is dead, was tried or was requeued."""
        event = self.event
        if event is None or event.state == "published":
            return False
        return event.state != "pending" or bool(event.retry_count or self.replays)


class Amounts(NamedTuple):
    """The amounts that an order's callbacks report as paid, in whole units.

    ``paid`` is the accepted amount, or None if no success was accepted. ``refused`` are the amounts of refused
    successes, earliest first. ``settled_by`` is None if the payment is not settled.
    """

    paid: int | None = None
    refused: tuple[int, ...] = ()
    settled_by: SettledBy | None = None


class NamedEvent(NamedTuple):
    """The event whose id the operator gave. ``closing`` is the run that closed it, or None if it is not closed.

    ``can_be_closed`` is true if the event is dead and harmless, and no person has closed it.
    """

    event: EventRow
    tries: int
    blocked: bool
    closing: Run | None
    can_be_closed: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """The history of a payment, oldest step first, with the findings about it.

    ``verdict`` is the finding that matters most to the customer, and ``also`` has the other findings. ``warnings`` say
    which data payctl could not read.
    """

    payment: PaymentRow | None
    verdict: Verdict
    steps: tuple[Step, ...]
    advice: tuple[Advice, ...]
    also: tuple[Verdict, ...] = ()
    amounts: Amounts = Amounts()  # noqa: RUF009 - a constant
    warnings: tuple[str, ...] = field(default=())
    repeated: tuple[NamedEvent, ...] = ()
    """The dead events that repeat a sent success, block no other event, and that no person has closed."""
    closable_unknown: tuple[str, ...] = ()
    """The ids of the dead events of unknown types that a person can close, because no customer waits for them."""
    named_event: NamedEvent | None = None
    """The event whose id the operator gave, or None if the operator did not name an event."""
    afterwards: tuple[Advice, ...] = ()
    """The commands to run after the operator has fixed what ``todo`` says, because until then they would fail."""
    debezium_sends: bool = False
    """Whether a connector reads Debezium's slot.

    The connector sends inserted events at once, but does not mark their rows.
    """

    @property
    def success_is_unsent(self) -> bool:
        """Whether the order is paid and its success event is not sent yet, or does not exist."""
        unsent = self.unsent_success
        known = unsent is not None and unsent.event is not None and unsent.kind is not VerdictKind.UNKNOWN_TYPE
        sent_by_debezium = self.debezium_sends and known and unsent and not unsent.is_skipped_by_debezium
        return unsent is not None and not sent_by_debezium

    @property
    def unsent_success(self) -> Verdict | None:
        """The finding about a success event that is not marked as published yet or does not exist, or None."""
        return next((each for each in (self.verdict, *self.also) if _is_unmarked_success(each)), None)

    @property
    def success_is_unmarked(self) -> bool:
        """Whether the order is paid and its success event is not marked as published yet."""
        return self.unsent_success is not None


def _is_unmarked_success(verdict: Verdict) -> bool:
    event = verdict.event
    if verdict.kind in {VerdictKind.NO_EVENT, VerdictKind.UNKNOWN_TYPE}:
        return verdict.ticket_is_due
    return event is not None and event.event_type == "PAYMENT_COMPLETED" and event.state != "published"
