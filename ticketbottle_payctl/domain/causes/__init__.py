"""Find the reasons why events are waiting, from evidence in the database and from the brokers.

The store collects the :class:`Evidence`, and :func:`causes` derives the causes. Therefore ``stats`` and ``doctor``
report the same causes. This package never opens a connection.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.causes.cause import Cause, CauseKind, Command
from ticketbottle_payctl.domain.causes.dead import harmless, of_dead, of_paid_orders
from ticketbottle_payctl.domain.causes.evidence import (
    NO_LATE_FAILURES,
    NO_PAID_ORDERS,
    OVERDUE_AFTER,
    SEEN_WITHIN,
    SENDABLE,
    WAITS_AFTER,
    Brokers,
    DeadGroup,
    Evidence,
    Holder,
    LateFailures,
    PaidOrders,
    Reason,
    SeenPublisher,
    Waiting,
)
from ticketbottle_payctl.domain.causes.idle import Idle, awaits_rescan, idle
from ticketbottle_payctl.domain.causes.late_failures import (
    dry_run_instead,
    late_failure,
    of_late_failures,
    taken_tickets,
)
from ticketbottle_payctl.domain.causes.pending import of_failures, of_sendable, unexplained
from ticketbottle_payctl.domain.causes.publishing import (
    NEXT_RESCAN,
    NEXT_RUN,
    RESCANS,
    Activity,
    Publishing,
    cut_off,
    ended_lately,
    if_unsent,
    publishing,
    publishing_of,
    without_ended_outages,
)
from ticketbottle_payctl.domain.causes.stopped import (
    locked_events,
    of_brokers,
    of_new_event,
    of_publishers,
    of_row_locks,
    of_table_locks,
)
from ticketbottle_payctl.domain.causes.without_error import WithoutError, without_error
from ticketbottle_payctl.domain.causes.words import overdue, replay_options

__all__ = [
    "NEXT_RESCAN", "NEXT_RUN", "NO_LATE_FAILURES", "NO_PAID_ORDERS", "OVERDUE_AFTER", "RESCANS", "SEEN_WITHIN",
    "SENDABLE", "WAITS_AFTER", "Activity", "Brokers", "Cause", "CauseKind", "Command", "DeadGroup", "Evidence",
    "Holder", "Idle", "LateFailures", "PaidOrders", "Publishing", "Reason", "SeenPublisher", "Waiting",
    "WithoutError", "awaits_rescan", "causes", "cut_off", "ended_lately", "harmless", "idle", "if_unsent",
    "late_failure", "locked_events", "of_new_event", "publishing", "publishing_of", "replay_options", "taken_tickets",
    "without_ended_outages", "without_error",
]  # fmt: skip


def causes(evidence: Evidence, brokers: Brokers | None = None) -> tuple[Cause, ...]:
    """Return the reasons why events are waiting, and the pending failure events of paid orders, most urgent first.

    The result is empty if no event is dead, blocked or overdue, and no pending failure event would take the tickets of
    a paid order.

    If ``brokers`` is None, the brokers were not checked. In this case, the advice may contain the command that checks
    them.
    """
    found = [*of_publishers(evidence, brokers)]
    found += of_brokers(evidence, brokers)
    found += of_table_locks(evidence)
    stopped = brokers.stopped if brokers else {}
    if all(cause.kind is CauseKind.TOPIC for cause in found):
        late = [one for one in overdue(evidence, Reason.READY, Reason.UNANSWERED) if one.event_type not in stopped]
        ready = [one for one in late if one.reason is Reason.READY]
        unanswered = [one for one in late if one.reason is Reason.UNANSWERED]
        found += of_sendable(evidence, ready, unanswered, brokers)
    found += of_row_locks(evidence)
    found += of_late_failures(evidence.late_failures, by_debezium=evidence.slot_active is not None)
    found += of_paid_orders(evidence)
    found += of_dead(evidence)
    found += of_failures(evidence)
    oldest_s = evidence.oldest_s or 0
    if not found and oldest_s > OVERDUE_AFTER.total_seconds():
        rest = Waiting(Reason.READY, "", evidence.pending, oldest_s, evidence.oldest_id or "")
        found.append(unexplained(evidence, [rest], brokers))
    found = [dry_run_instead(cause, evidence.late_failures) for cause in found]
    order = [*CauseKind]
    return tuple(sorted(found, key=lambda cause: order.index(cause.kind)))
