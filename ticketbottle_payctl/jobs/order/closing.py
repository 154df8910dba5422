"""Close the findings about an order: record that a person has dealt with them outside payctl.

A closing covers what the operator saw: every transfer of money that was first reported until then. A new transfer is
open again. If a gateway repeats a callback about a closed transfer, it stays closed, so nobody refunds it twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.jobs.order.judge_money import successes_of, transfer_of
from ticketbottle_payctl.jobs.order.model import Mark, Timeline, Verdict, VerdictKind
from ticketbottle_payctl.store.db.engine import Limits
from ticketbottle_payctl.store.payctl import run_items
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import CLOSED, NewRun, RunStatus
from ticketbottle_payctl.store.payments.history import History

_LIMITS = Limits(statement=timedelta(seconds=30))


@dataclass(frozen=True, slots=True)
class OpenFindings:
    """The findings about an order that a person may close. ``until`` is the latest instant that they are about."""

    timeline: Timeline
    subject: str
    findings: tuple[Verdict, ...]
    until: datetime | None


def closed(findings: Sequence[Verdict], found: History) -> Iterator[Verdict]:
    """Return the findings. Those that a closing covers are good and name it."""
    for each in findings:
        since = _since(each, found)
        covers = [closing for closing in found.closings if since is not None and since <= closing.until]
        if each.can_be_closed and covers:
            yield replace(each, mark=Mark.GOOD, closing=covers[-1], remedy=None)
        else:
            yield each


def close_findings(engine: Engine, found: OpenFindings, run: NewRun) -> None:
    """Record a run that closes these findings. It changes no payment.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: payctl's schema or a permission is missing. Nothing was recorded.
    """

    def rows(connection: Connection) -> None:
        for place, each in enumerate(found.findings):
            before = {"state": "open", "receipt": each.receipt.id if each.receipt else None}
            after = {"state": CLOSED, "receipt": before["receipt"], "until": found.until and found.until.isoformat()}
            run_items.record_payment(connection, run.id, place, found.subject, CLOSED, each.kind.value, before, after)

    with open_run(engine, run, _LIMITS, also=rows) as opened:
        opened.end(RunStatus.DONE, {CLOSED: len(found.findings)})


def _since(finding: Verdict, found: History) -> datetime | None:
    """Return when the finding's money was first reported.

    Without a transfer number, a later callback may be about other money, so the last callback counts.
    """
    if finding.kind is VerdictKind.SECOND_PAYMENT:
        first: dict[str, datetime] = {}
        own = {None, found.payment and found.payment.id}
        for each in successes_of(found.receipts):
            if each.payment_number and each.payment_id in own:
                first.setdefault(each.payment_number, each.received_at)
        return max(first.values(), default=finding.at)
    receipt = finding.receipt
    if receipt is None or finding.paid is None or transfer_of(receipt) is None:
        return finding.at
    same = (receipt.reason, receipt.amount, transfer_of(receipt))
    return min(each.received_at for each in found.receipts if (each.reason, each.amount, transfer_of(each)) == same)
