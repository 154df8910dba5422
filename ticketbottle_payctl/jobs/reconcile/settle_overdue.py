"""Query the gateways about overdue payments, and settle these payments without an operator.

A cap replaces the operator's confirmation. If a plan contains more payments than the cap, no payment is settled. Each
payment is settled in its own transaction, so a killed run does not need a repair. The next run finds the payments that
are still PENDING.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from uuid import uuid4

from sqlalchemy import Engine

from ticketbottle_payctl.domain.payment import OVERDUE_AFTER
from ticketbottle_payctl.domain.settlement import Refusal
from ticketbottle_payctl.jobs.reconcile.database_clock import database_clock
from ticketbottle_payctl.jobs.reconcile.payments_report import (
    FOR_A_PERSON,
    NO_ANSWER,
    PaymentsCounts,
    count_payments,
    is_closed,
)
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled, find_overdue, settle_findings
from ticketbottle_payctl.jobs.reconcile.status_poller import AskOptions, StatusEndpoint, StatusFinding, ask_gateways
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments.overdue import Overdue

COMMAND = "reconcile payments"
"""The command name in the run's record. The scheduled function does the same work as this command."""

_FOR_ASKING = 2 / 3
"""The share of the time limit that is reserved for querying the gateways. The rest is for settling the payments."""

_NO_LOSS = "already_settled"
"""The reason for skipping a payment that a callback or another run settled first."""


@dataclass(frozen=True, slots=True)
class UnattendedOptions:
    """The limits of a run.

    ``most_settled`` is the cap on the number of payments in the plan. ``most_asked`` is the maximum number of payments
    to query. ``budget`` is the time limit of the whole run. The run queries only payments that are older than
    ``older_than`` and younger than ``younger_than``. Without the second limit, every run would query payments that will
    never get a result. ``rate`` is in requests per second, and ``timeout`` is the limit for one response.
    """

    most_settled: int
    budget: timedelta
    most_asked: int = 1000
    older_than: timedelta = OVERDUE_AFTER
    younger_than: timedelta = timedelta(days=7)
    rate: float = 5.0
    timeout: timedelta = timedelta(seconds=10)
    attempts: int = 2

    @property
    def asking(self) -> timedelta:
        """The time limit for all queries."""
        return self.budget * _FOR_ASKING


@dataclass(frozen=True, slots=True)
class UnattendedReport:
    """The result of a run.

    ``over_cap`` is the number of payments in a plan over the cap, otherwise 0. ``more`` is True if there were more
    overdue payments than ``most_asked``. ``closed`` contains the ids of the payments that an operator has closed.
    """

    findings: Sequence[StatusFinding]
    counts: PaymentsCounts
    done: Mapping[str, Settled]
    over_cap: int
    more: bool
    run_id: str | None
    closed: frozenset[str] = frozenset()

    @property
    def failed(self) -> int:
        """Return how many payments the run failed to settle because they were locked or the time limit was reached."""
        if self.over_cap:
            return 0
        lost = sum(one.outcome != "settled" and one.reason != _NO_LOSS for one in self.done.values())
        return self.counts["to_settle"] - len(self.done) + lost

    @property
    def unanswered(self) -> int:
        """Return the number of payments without a usable response, including those that payctl did not query.

        The payments that ``most_asked`` left out count as one, because their number is unknown.
        """
        return self.counts["no_answer"] + self.counts["not_asked"] + self.more

    @property
    def for_a_person(self) -> Sequence[StatusFinding]:
        """Return the findings that an operator must check.

        In these cases, payctl refused the response, cannot decide on the payment, or settled a payment that had been
        FAILED or CANCELLED.
        """
        return [finding for finding in self.findings if self._needs_a_person(finding)]

    @property
    def without_answer(self) -> Sequence[StatusFinding]:
        """Return the findings that :attr:`unanswered` counts. Payments that were left out have no finding."""
        return [finding for finding in self.findings if finding.says in NO_ANSWER | {"not_asked"}]

    def _needs_a_person(self, finding: StatusFinding) -> bool:
        settled = self.done.get(finding.payment.id)
        late = settled is not None and settled.late
        decides = finding.says in FOR_A_PERSON and not is_closed(finding, self.closed)
        return late or decides or isinstance(finding.verdict, Refusal)


def settle_overdue(
    engine: Engine,
    endpoints: Mapping[str, StatusEndpoint],
    options: UnattendedOptions,
    who: Actor,
) -> UnattendedReport:
    """Query the overdue payments, and settle each payment for which its gateway reports a final result.

    If the plan has more than ``most_settled`` payments, no payment is settled and no run is recorded. Otherwise one run
    records all payments. When the time limit is reached, the remaining payments stay PENDING until the next run.

    Raises:
        DatabaseUnavailableError: the server cannot be reached. Committed payments stay settled.
        ConfigError: payctl's schema or a privilege is missing.
    """
    ends, stop = time.monotonic() + options.budget.total_seconds(), Event()
    now = database_clock(engine)
    since = {
        name: now() - min(query.within or options.younger_than, options.younger_than) for name, query in QUERIES.items()
    }
    chosen = find_overdue(engine, Overdue(now() - options.older_than, since), options.most_asked)
    asking = AskOptions(options.rate, options.timeout, options.asking, options.attempts)
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
    counts = count_payments(found, done, too_old=chosen.too_old, closed=chosen.closed)
    return UnattendedReport(found, counts, done, over_cap, chosen.more, run_id, chosen.closed)
