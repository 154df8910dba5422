"""Ask the gateways about overdue payments and settle them without an operator.

A cap replaces the confirmation: if a plan contains more payments than the cap, nothing is changed. Each payment is
settled in its own transaction, so a run that was killed needs no repair. The next run finds the payments that are still
PENDING.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from uuid import uuid4

from sqlalchemy import Engine

from ticketbottle_payctl.domain.payment import Refusal
from ticketbottle_payctl.jobs.reconcile.database_clock import database_clock
from ticketbottle_payctl.jobs.reconcile.payments_report import FOR_A_PERSON, NO_ANSWER, PaymentsCounts, count_payments
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled, find_overdue, settle_findings
from ticketbottle_payctl.jobs.reconcile.status_poller import AskOptions, StatusEndpoint, StatusFinding, ask_gateways
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments.overdue import Overdue

COMMAND = "reconcile payments"
"""The command name in the record of a run. The function does the same work as this command."""

_FOR_ASKING = 2 / 3
"""The share of the time for asking the gateways. The rest is for settling the payments."""

_NO_LOSS = "already_settled"
"""The reason if a callback or another run settled the payment first."""


@dataclass(frozen=True, slots=True)
class UnattendedOptions:
    """The limits of a run.

    ``most_settled`` is the cap of the plan, and ``most_asked`` is the highest number of payments to ask about.
    ``budget`` is the time for the whole run. The run asks only about payments that have been PENDING for longer than
    ``older_than`` and not longer than ``younger_than``. Without the second limit it would ask forever about payments
    whose gateway never reports a result.
    """

    most_settled: int
    budget: timedelta
    most_asked: int = 1000
    older_than: timedelta = timedelta(minutes=20)
    younger_than: timedelta = timedelta(days=7)
    rate: float = 5.0
    timeout: timedelta = timedelta(seconds=10)
    attempts: int = 2


@dataclass(frozen=True, slots=True)
class UnattendedReport:
    """The result of a run. ``over_cap`` is the size of a plan that was refused, otherwise 0.

    ``more`` is true if there were more overdue payments than may be asked about.
    """

    findings: Sequence[StatusFinding]
    counts: PaymentsCounts
    done: Mapping[str, Settled]
    over_cap: int
    more: bool
    run_id: str | None

    @property
    def failed(self) -> int:
        """Return how many payments should have been settled but were not: they were locked, or the time was over."""
        if self.over_cap:
            return 0
        lost = sum(one.outcome != "settled" and one.reason != _NO_LOSS for one in self.done.values())
        return self.counts["to_settle"] - len(self.done) + lost

    @property
    def unanswered(self) -> int:
        """Return the number of payments without a response that can be trusted, or without a query."""
        return self.counts["no_answer"] + self.counts["not_asked"]

    @property
    def for_a_person(self) -> Sequence[StatusFinding]:
        """Return the findings that an operator must look at.

        payctl refused the response, has no rule for it, or settled a payment that was FAILED or CANCELLED before.
        """
        return [finding for finding in self.findings if self._needs_a_person(finding)]

    @property
    def without_answer(self) -> Sequence[StatusFinding]:
        """Return the findings that :attr:`unanswered` counts."""
        return [finding for finding in self.findings if finding.says in NO_ANSWER | {"not_asked"}]

    def _needs_a_person(self, finding: StatusFinding) -> bool:
        settled = self.done.get(finding.payment.id)
        late = settled is not None and settled.late
        return late or finding.says in FOR_A_PERSON or isinstance(finding.verdict, Refusal)


def settle_overdue(
    engine: Engine,
    endpoints: Mapping[str, StatusEndpoint],
    options: UnattendedOptions,
    who: Actor,
) -> UnattendedReport:
    """Ask about the overdue payments and settle those whose gateway knows the result.

    A plan with more than ``most_settled`` payments changes nothing and records no run. Otherwise one run records every
    payment. If the time is too short for a payment, it stays PENDING until the next run.

    Raises:
        DatabaseUnavailableError: the server cannot be reached. Committed payments stay settled.
        ConfigError: payctl's schema or a permission is missing.
    """
    ends, stop = time.monotonic() + options.budget.total_seconds(), Event()
    now = database_clock(engine)
    since = {
        name: now() - min(query.within or options.younger_than, options.younger_than) for name, query in QUERIES.items()
    }
    chosen = find_overdue(engine, Overdue(now() - options.older_than, since), options.most_asked)
    asking = AskOptions(options.rate, options.timeout, options.budget * _FOR_ASKING, options.attempts)
    found = list(ask_gateways(chosen.payments, endpoints, asking, now=now, stop=stop))
    planned = sum(finding.settles for finding in found)
    done: dict[str, Settled] = {}
    over_cap, run_id = planned if planned > options.most_settled else 0, None
    if planned and not over_cap:
        run = NewRun(str(uuid4()), COMMAND, who, reason="scheduled", options={"most_settled": options.most_settled})

        def on_settled(_number: int) -> None:
            if time.monotonic() > ends:
                stop.set()

        done = {one.payment_id: one for one in settle_findings(engine, found, run, stop=stop, tell=on_settled)}
        run_id = run.id
    counts = count_payments(found, done, too_old=chosen.too_old)
    return UnattendedReport(found, counts, done, over_cap, chosen.more, run_id)
