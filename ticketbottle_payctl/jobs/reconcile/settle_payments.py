"""Settle payments with the results that their gateways report.

The lock, the decision and the SQL statement are the same as for a callback. payctl decides again while it holds the
payment's lock, because the payment may have changed since the query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.callback import Callback, Request
from ticketbottle_payctl.domain.late_commits import IDLE_WITHIN
from ticketbottle_payctl.domain.new_event import NewEvent, event_for
from ticketbottle_payctl.domain.payment import Payment
from ticketbottle_payctl.domain.settlement import Refusal, Transition, settle
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.engine import Limits, is_lock_timeout, transaction
from ticketbottle_payctl.store.payctl import run_items
from ticketbottle_payctl.store.payctl.receipts import STATUS_QUERY, Receipt
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus
from ticketbottle_payctl.store.payments import overdue
from ticketbottle_payctl.store.payments import settle as payments
from ticketbottle_payctl.store.payments.closed_overdue import closed_among
from ticketbottle_payctl.store.payments.overdue import NONE_FORGOTTEN, Forgotten, Overdue, Unsettled

_READ = Limits(statement=timedelta(seconds=60))
_WRITE = Limits(statement=timedelta(seconds=5), lock=timedelta(seconds=3), idle=IDLE_WITHIN)

LOCKED = "locked"
"""The reason why a payment was skipped if another session had locked its row or a whole table."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The result for one payment.

    ``reason`` says why the payment is unchanged. ``late`` is True if the gateway reported success after the payment had
    failed or had been cancelled.
    """

    payment_id: str
    outcome: str
    reason: str | None = None
    status_before: str | None = None
    status_after: str | None = None
    event_id: str | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """The payments to query.

    ``more`` is True if the limit excluded some payments. ``missing`` contains the names that do not match any payment.
    ``too_old`` counts the payments that are too old for their gateways' status queries. ``closed`` contains the ids of
    those ``payments`` that a person has closed.
    """

    payments: Sequence[Unsettled]
    more: bool = False
    missing: Sequence[str] = ()
    too_old: Forgotten = NONE_FORGOTTEN
    closed: frozenset[str] = frozenset()


class _Change(NamedTuple):
    """The changes for one settled payment. One SQL statement writes them all."""

    transition: Transition
    event: NewEvent
    receipt: Receipt


def find_overdue(engine: Engine, wanted: Overdue, limit: int) -> Candidates:
    """Return the overdue payments that are not too old for their gateways' status queries, newest first.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _READ, commit=False) as connection:
        found = overdue.overdue(connection, wanted, limit + 1)
        too_old = overdue.count_forgotten(connection, wanted)
        closed = closed_among(connection, [payment.id for payment in found[:limit]])
    return Candidates(found[:limit], more=len(found) > limit, too_old=too_old, closed=closed)


def find_named(engine: Engine, names: Sequence[str]) -> Candidates:
    """Return the payments with these ids or order codes. ``missing`` lists the names that do not match any payment.

    Raises:
        InputError: a short id is ambiguous.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _READ, commit=False) as connection:
        names = short_ids.whole(connection, "payments", names)
        found = overdue.named(connection, names)
        closed = closed_among(connection, [payment.id for payment in found])
    known = {name for payment in found for name in (payment.id, payment.order_code)}
    return Candidates(found, missing=[name for name in names if name not in known], closed=closed)


def settle_findings(
    engine: Engine,
    findings: Sequence[StatusFinding],
    run: NewRun,
    *,
    stop: Event,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Settled]:
    """Settle the payment of each finding that changes its payment.

    Use one transaction per payment, and record a single run.

    ``tell`` is called after each payment with the number of payments processed so far.

    Raises:
        DatabaseUnavailableError: the server cannot be reached. Committed payments stay settled, and the caller can
            repeat the run.
        ConfigError: a privilege is missing.
    """
    wanted = [finding for finding in findings if finding.settles and finding.callback]
    done: list[Settled] = []
    with open_run(engine, run, _WRITE) as opened:
        opened.counts |= {"matched": len(wanted), "settled": 0, "skipped": 0}
        for place, finding in enumerate(wanted):
            if stop.is_set():
                break
            done.append(_settle(engine, run.id, place, finding))
            opened.counts["settled" if done[-1].outcome == "settled" else "skipped"] += 1
            tell(len(done))
        opened.end(RunStatus.DONE if len(done) == len(wanted) else RunStatus.INCOMPLETE)
    return done


def _settle(engine: Engine, run_id: str, place: int, finding: StatusFinding) -> Settled:
    try:
        with transaction(engine, _WRITE) as connection:
            outcome, change = _decide(connection, finding)
            before = {"status": outcome.status_before} if outcome.event_id else None
            after = {"status": outcome.status_after, "event_id": outcome.event_id} if outcome.event_id else None
            run_items.record_payment(
                connection, run_id, place, finding.payment.id, outcome.outcome, outcome.reason, before, after
            )
            if change is not None:
                payments.settle(
                    connection, *change
                )  # this is the last write, because the event must be committed soon after its time
    except PayctlError as error:
        if not is_lock_timeout(error):
            raise
        return Settled(finding.payment.id, "skipped", LOCKED)
    return outcome


def _decide(connection: Connection, finding: StatusFinding) -> tuple[Settled, _Change | None]:
    """Lock the payment. Return the decision, and the changes to write if the payment must be settled."""
    callback = finding.callback
    if callback is None:
        return Settled(finding.payment.id, "skipped", "nothing"), None
    found = payments.lock(connection, callback)
    if found is None or found[0].id != finding.payment.id:
        return Settled(finding.payment.id, "skipped", "gone"), None
    payment, now = found
    verdict = settle(payment, callback, now)
    if not isinstance(verdict, Transition):
        reason = verdict.reason.value if isinstance(verdict, Refusal) else "already_settled"
        return Settled(payment.id, "skipped", reason, str(payment.status), str(payment.status)), None
    change = _change(finding, payment, callback, verdict)
    settled = Settled(
        payment.id,
        "settled",
        status_before=verdict.before.value,
        status_after=verdict.after.value,
        event_id=change.event.id,
        late=verdict.late,
    )
    return settled, change


def _change(finding: StatusFinding, payment: Payment, callback: Callback, transition: Transition) -> _Change:
    event = event_for(payment, transition.after, transition.at, str(uuid4()))
    body = finding.response.body if finding.response else b""
    receipt = Receipt(
        id=str(uuid4()),
        callback=callback,
        request=Request(STATUS_QUERY, f"/reconcile/{callback.provider}", body=body),
        result="settled",
        reason=None,
        payment_id=payment.id,
        event_id=event.id,
    )
    return _Change(transition, event, receipt)
