"""Close the findings about an order by recording that a person has dealt with them outside payctl."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.jobs.order.advice import advise_sending, with_dry_runs
from ticketbottle_payctl.jobs.order.closed_findings import subject_of
from ticketbottle_payctl.jobs.order.find import find
from ticketbottle_payctl.jobs.order.may_be_closed import can_be_closed
from ticketbottle_payctl.jobs.order.model import Advice, Timeline, Verdict, VerdictKind
from ticketbottle_payctl.jobs.order.records import Records
from ticketbottle_payctl.jobs.order.verdict import judge
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import cdc, claim
from ticketbottle_payctl.store.payctl import run_items
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import CLOSED, NewRun, RunStatus

_LIMITS = Limits(statement=timedelta(seconds=30), jit=False)


@dataclass(frozen=True, slots=True)
class OpenFindings:
    """An order's open findings that a person can close. The closing record covers the findings up to ``until``.

    ``subject`` is the order's name, and ``subjects`` contains the name under which each finding is closed. ``sending``
    is the first command that helps to send the success event, or None if no unsent success event exists. ``timeline``
    has no steps and no advice. ``asked_at`` is the database's time before payctl read the order and asked the gateway.
    ``answer`` is what the gateway said about an overdue payment, or None if payctl did not ask it.
    """

    timeline: Timeline
    subject: str
    findings: tuple[Verdict, ...]
    subjects: tuple[str, ...]
    until: datetime | None
    sending: Advice | None
    asked_at: datetime
    answer: str | None = None

    @property
    def has_overdue_payment(self) -> bool:
        """Whether the order's payment is overdue, so that payctl must ask its gateway before it closes the finding."""
        return any(each.is_overdue_payment for each in self.findings)

    def without_overdue_payment(self) -> OpenFindings:
        """Return the findings that can be closed without an answer from the gateway."""
        pairs = zip(self.findings, self.subjects, strict=True)
        kept = [(each, subject) for each, subject in pairs if not each.is_overdue_payment]
        until = max((each.at for each, _ in kept if each.at), default=None)
        findings, subjects = tuple(each for each, _ in kept), tuple(subject for _, subject in kept)
        return replace(self, findings=findings, subjects=subjects, until=until)


def find_open(
    engine: Engine, name: str, *, max_retries: int, retention: timedelta | None = None, now: datetime
) -> OpenFindings:
    """Return an order's open findings that a person can close.

    They are the findings that ``show`` would report without searching Kafka.

    Raises:
        NotFoundError: no order, payment, event or receipt matches ``name``.
        InputError: several order codes end with ``name``. The message lists them.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        asked_at = claim.now(connection).replace(tzinfo=UTC)
        found = find(connection, name, max_retries)
        slot = cdc.slot(connection)
    first, *also = judge(found, Records(), now, retention)
    findings = tuple(each for each in (first, *also) if can_be_closed(each))
    times = [each.at for each in findings if each.at]
    debezium_sends = slot is not None and slot.active
    timeline = Timeline(found.payment, first, (), (), tuple(also), debezium_sends=debezium_sends)
    unsent, sending = timeline.unsent_success, None
    if unsent is not None and unsent.event is not None and unsent.kind is not VerdictKind.UNKNOWN_TYPE:
        sending = advise_sending(unsent, found, now, debezium_publishes=slot is not None)
        (sending,) = with_dry_runs([sending], engine, max_retries)
    subjects = tuple(subject_of(each, found) for each in findings)
    return OpenFindings(timeline, found.subject, findings, subjects, max(times, default=None), sending, asked_at)


def close_findings(engine: Engine, found: OpenFindings, run: NewRun) -> None:
    """Record a run that closes these findings. The payment stays unchanged.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: payctl's schema or a privilege is missing. Nothing was recorded.
    """

    def rows(connection: Connection) -> None:
        for place, (each, subject) in enumerate(zip(found.findings, found.subjects, strict=True)):
            receipt = each.receipt.id if each.receipt and not each.is_overdue_payment else None
            until = found.until and found.until.isoformat()
            before: dict[str, object] = {"state": "open", "receipt": receipt}
            after: dict[str, object] = {"state": CLOSED, "receipt": receipt, "until": until}
            if each.is_overdue_payment:
                before["gateway_says"] = found.answer
                after["asked_at"] = found.asked_at.isoformat()
            run_items.record_payment(connection, run.id, place, subject, CLOSED, each.kind.value, before, after)

    with open_run(engine, run, _LIMITS, also=rows) as opened:
        opened.end(RunStatus.DONE, {CLOSED: len(found.findings)})
