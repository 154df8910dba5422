"""Define the types for a window's report.

Times have a time zone. Ages and lags are in seconds, and amounts are in VND.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.domain.causes import WAITS_AFTER, LateFailures
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.flow_in_window import Flow, Parts
from ticketbottle_payctl.store.outbox.republished import LongestWait
from ticketbottle_payctl.store.payctl.received_in_window import Received
from ticketbottle_payctl.store.payctl.runs import Run
from ticketbottle_payctl.store.payments.created_in_window import CreatedPayments
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, OpenOrders
from ticketbottle_payctl.store.payments.sent_failures import FAILED_BEFORE_SUCCESS, RELEASED_AFTER_SUCCESS


class Section(StrEnum):
    """A section of the report. Each section has its own statements, and each statement has a time limit."""

    FLOW = "flow"
    CALLBACKS = "callbacks"
    PAYMENTS = "payments"
    UNPUBLISHED_ORDERS = "unpublished_orders"
    NO_EVENT = "orders_without_event"
    REFUSED_ORDERS = "refused_orders"
    MONEY_ORDERS = "money_orders"
    LATE_FAILURES = "late_failures"
    DEAD_GROUPS = "dead_groups"
    RUNS = "runs"


class GapReason(StrEnum):
    """The reasons why a part of the report is missing."""

    TIMED_OUT = "timed_out"
    TOO_MANY_EVENTS = "too_many_events"
    TOO_MANY_WAITING = "too_many_waiting"
    TOO_MANY_RUNS = "too_many_runs"
    TOO_MANY_GROUPS = "too_many_groups"
    TOO_MANY_ORDERS = "too_many_orders"
    PAST_RETENTION = "past_retention"


class Gap(NamedTuple):
    """A part of the report that is missing, and the reason.

    If ``before`` is set, only the data before that time is missing.
    """

    section: Section
    reason: GapReason
    before: datetime | None = None

    @property
    def is_failure(self) -> bool:
        """Whether the whole section is missing, and not only some of its data."""
        return self.reason is GapReason.TIMED_OUT


class Waiting(NamedTuple):
    """The backlog when the report was made.

    ``oldest_age_s`` is the age of the oldest pending event. ``longest`` is the pending event that has waited longest.
    ``longest`` is not the oldest event if a replay requeued the oldest event after it had been sent.
    """

    pending: int
    dead: int
    oldest_age_s: float | None
    longest: LongestWait | None
    oldest_dead_age_s: float | None


class MomentKind(StrEnum):
    """The kinds of entries in the timeline."""

    RUN_STARTED = "run_started"
    RUN_ENDED = "run_ended"
    FIRST_REFUSED = "first_refused"
    LAST_REFUSED = "last_refused"
    LONGEST_LAG = "longest_lag"
    MOST_WAITING = "most_waiting"
    PAUSE = "pause"
    FIRST_DEAD = "first_dead"
    OLDEST_PENDING = "oldest_pending"


class Moment(NamedTuple):
    """An entry in the timeline.

    ``id`` is the id of a run, a receipt or an event. ``number`` is a count, or a lag in seconds. ``until`` is the end
    of a pause. ``what`` is a command, a reason, an event type or an error. For an event that has waited since a replay,
    ``what`` is ``requeued``. ``closed`` counts those of ``number`` dead events that a person has closed.
    """

    at: datetime
    kind: MomentKind
    id: str | None = None
    what: str | None = None
    number: float | None = None
    until: datetime | None = None
    closed: int = 0


class Pause(NamedTuple):
    """The longest period in which events were waiting but none was sent.

    ``waiting`` is the backlog at the end of the pause.
    """

    since: datetime
    until: datetime
    waiting: int


class Point(NamedTuple):
    """One part of the window. ``waiting`` is the backlog at the end of the part. Lags are None if no event was sent."""

    at: datetime
    created: int
    sent: int
    waiting: int
    lag_p50: float | None
    lag_p95: float | None
    longest: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The facts about a window, and the state of the outbox at ``at``.

    ``late_failures`` are the pending failure events that would take the tickets of paid orders. A field is None if its
    section is missing. ``gaps`` says why the section is missing. ``closed`` counts the dead events that a person has
    closed, except those that block a pending event of their payment.
    """

    at: datetime
    parts: Parts
    waiting: Waiting
    flow: Flow | None
    points: tuple[Point, ...]
    pause: Pause | None
    callbacks: Received | None
    payments: CreatedPayments | None
    unpublished: OpenOrders | None
    no_event: OpenOrders | None
    refused: OpenOrders | None
    money: OpenOrders | None
    dead_groups: tuple[ErrorGroup, ...] | None
    closed: int
    runs: tuple[Run, ...] | None
    timeline: tuple[Moment, ...]
    gaps: tuple[Gap, ...]
    late_failures: LateFailures | None = None

    @property
    def without_ticket(self) -> int:
        """The number of orders whose customers have paid, or might have paid, but have no ticket."""
        return sum(group.number for group in self._groups())

    @property
    def amount(self) -> int:
        """The total amount of the orders in ``without_ticket``, in whole VND."""
        return sum(group.amount for group in self._groups())

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """The oldest orders in each group of ``without_ticket``."""
        return tuple(order for group in self._groups() for order in group.oldest)

    @property
    def is_quiet(self) -> bool:
        """Whether no order, payment or event in the report needs attention, and no section is missing."""
        missing = any(gap.is_failure for gap in self.gaps) or (self.money is not None and self.money.more)
        waiting = self.waiting.pending or self.waiting.dead > self.closed
        return not (self.without_ticket or self.for_a_person or self.overdue or waiting or missing)

    @property
    def has_waiting_events(self) -> bool:
        """Whether an event is pending and ``stats`` shows a next step.

        The answer is true if the oldest pending event is over ten seconds old, if a dead event is not closed, or if a
        pending failure event would take the tickets of a paid order.
        """
        if not self.waiting.pending:
            return False
        urgent = self.waiting.dead > self.closed or self.tickets_at_risk > 0
        return urgent or (self.waiting.oldest_age_s or 0) > WAITS_AFTER.total_seconds()

    @property
    def tickets_at_risk(self) -> int:
        """The number of pending failure events that would take the tickets of paid orders."""
        return self.late_failures.number if self.late_failures else 0

    @property
    def for_a_person(self) -> int:
        """The number of orders whose payments need manual review."""
        return self.money.number if self.money else 0

    @property
    def has_released_tickets(self) -> bool:
        """Whether a named order that needs manual review may have lost its tickets."""
        lost = {RELEASED_AFTER_SUCCESS, FAILED_BEFORE_SUCCESS}
        return any(order.why in lost for order in (self.money.oldest if self.money else ()))

    @property
    def overdue(self) -> int:
        """The number of payments in the window that are overdue and may have been paid.

        The number does not include a payment that a person has closed, that needs manual review, or that is counted as
        an order without a ticket.
        """
        return self.payments.silent if self.payments else 0

    @property
    def overdue_in_portal(self) -> int:
        """The number of overdue payments that are too old for their gateway's status query.

        Only the gateway's portal shows whether they are paid.
        """
        return self.payments.forgotten if self.payments else 0

    @property
    def closed_payments(self) -> int:
        """The number of overdue payments in the window that a person has closed."""
        return self.payments.closed if self.payments else 0

    @property
    def dead_do_no_harm(self) -> bool:
        """Whether no customer waits for any dead event, and no dead event blocks another event."""
        return sum(group.harmless for group in self.dead_groups or ()) == self.waiting.dead

    @property
    def some_repeat(self) -> bool:
        """Whether a dead event repeats a sent success."""
        return any(group.repeated for group in self.dead_groups or ())

    @property
    def open_dead_groups(self) -> tuple[ErrorGroup, ...]:
        """The groups of dead events in which at least one event is not closed."""
        return tuple(group for group in self.dead_groups or () if group.blocking or group.closed < group.dead)

    def _groups(self) -> list[OpenOrders]:
        return [group for group in (self.unpublished, self.no_event, self.refused) if group is not None]
