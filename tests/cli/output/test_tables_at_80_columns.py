"""Test that tables fit in 80 columns and that no word is broken across lines."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ticketbottle_payctl.cli.commands.reconcile.payments_facts import Reconciled
from ticketbottle_payctl.cli.commands.reconcile.payments_result import result_of
from ticketbottle_payctl.cli.commands.reconcile.payments_view import plan_blocks
from ticketbottle_payctl.cli.commands.runs.result import shown
from ticketbottle_payctl.cli.output.result import Result, Table
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import as_text
from ticketbottle_payctl.domain.payment import PaymentStatus
from ticketbottle_payctl.domain.settlement import Refusal, RefusalReason, Transition
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled
from ticketbottle_payctl.jobs.reconcile.status_poller import (
    AskOptions,
    StatusEndpoint,
    StatusFinding,
    ask_gateways,
)
from ticketbottle_payctl.jobs.runs import RunDetails
from ticketbottle_payctl.providers.queries import zalopay
from ticketbottle_payctl.store.payctl.runs import Actor, Run, RunAct, RunItem
from ticketbottle_payctl.store.payments.overdue import Unsettled

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
CODES = ("TB-ROCK_HN-20261123-AAAA1111", "TB-LTDTNL-20251213-8D39986M")
TERMINAL = Surface(terminal=True, colour=False)
RUN = "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6d"


@pytest.fixture(autouse=True)
def eighty(monkeypatch):
    """Set the terminal's width to 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def lines_of(blocks):
    """Return the lines that the terminal shows for the given blocks."""
    return as_text(Result("payctl.test/1", human=blocks), TERMINAL).splitlines()


def holds(lines, *cells):
    """Assert that every line fits, and that each word of each cell is complete on one line."""
    assert max(map(len, lines)) <= 80
    for word in " ".join(cells).split():
        assert any(word in line.split() for line in lines), (word, lines)


words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=14)


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(*[st.lists(words, min_size=1, max_size=9).map(" ".join)] * 4), min_size=1, max_size=4))
def test_a_table_whose_words_fit_folds_none_of_them(rows):
    """If the longest words of a table's four columns fit the terminal, cells are broken only at spaces."""
    holds(lines_of([Table(("a", "b", "c", "d"), tuple(rows))]), *(cell for row in rows for cell in row))


def finding(code, says, detail="", verdict=None, amount=1_250_000):
    """Return a gateway's response about a payment as a StatusFinding."""
    payment = Unsettled("p" + code, code, amount, "zalopay", "r", "PENDING", NOW - timedelta(hours=1))
    return StatusFinding(payment, says, detail, verdict=verdict)


FINDINGS = [
    finding(CODES[0], "completed", "1", Transition(PaymentStatus.PENDING, PaymentStatus.COMPLETED, NOW, late=False)),
    finding(CODES[1], "completed", "", Refusal(RefusalReason.CONTRADICTS_COMPLETED)),
    finding(CODES[1], "query_refused", "the response has a different amount"),
    finding(CODES[0], "unknown_state", "4711"),
]


def planned(findings):
    """Return the plan of `reconcile payments`."""
    return plan_blocks(findings, is_plan=True, closed=frozenset(), at=NOW)


def test_the_plan_of_reconcile_payments_folds_no_word():
    """At 80 columns, the plan of `reconcile payments` keeps each order, amount, answer and action on one line."""
    lines = lines_of(planned(FINDINGS))
    holds(lines, *CODES, "1,250,000 VND", "completed", "settle: COMPLETED", "refuse: contradicts completed")
    holds(lines, "query refused", "unknown state (4711)", "needs manual review")


def test_a_payment_that_is_too_old_takes_at_most_three_lines():
    """At 80 columns, a payment that is too old to be queried takes at most three lines. A line below says why."""
    payment = replace(finding(CODES[0], "").payment, created_at=NOW - timedelta(days=9))
    endpoint = StatusEndpoint(zalopay.QUERY, {}, exchange=lambda *_: None)
    (found,) = ask_gateways([payment], {"zalopay": endpoint}, AskOptions(), now=lambda: NOW, stop=Event())
    lines = lines_of(planned([found]))
    holds(lines, "too old", CODES[0])
    assert sum(bool(line.strip()) for line in lines) <= 3 + 3, lines
    result = result_of(Reconciled([found], NOW))
    said = "".join(lines_of(result.human))
    assert (result.warnings, said.count("for only 48 hours")) == ([], 1)


def test_a_figure_of_the_plan_is_not_folded():
    """At 80 columns, the plan of `reconcile payments` keeps each amount and its currency on one line."""
    wrong = finding("TB-AMOUNT", "completed", "321,000 VND", Refusal(RefusalReason.WRONG_AMOUNT), amount=320_000)
    right = Transition(PaymentStatus.PENDING, PaymentStatus.COMPLETED, NOW, late=False)
    lines = lines_of(planned([finding("TB-MISSING", "completed", "", right, amount=450_000), wrong]))
    assert sum("(321,000 VND)" in line for line in lines) == 1, lines
    assert sum("320,000 VND" in line for line in lines) == 1
    assert sum("settle: COMPLETED" in line for line in lines) == 1, "the other columns leave enough room for the action"
    assert max(map(len, lines)) <= 80


def test_the_outcome_of_reconcile_payments_folds_no_word():
    """At 80 columns, the outcome of `reconcile payments` keeps each order, answer and status on one line."""
    done = {
        FINDINGS[0].payment.id: Settled(
            FINDINGS[0].payment.id, "settled", status_before="PENDING", status_after="COMPLETED", event_id="e"
        )
    }
    lines = lines_of(result_of(Reconciled(FINDINGS[:1], NOW, done=done, run_id=RUN)).human)
    holds(lines, CODES[0], "completed (1)", "PENDING → COMPLETED")


def run_of(command="replay"):
    """Return a finished run that an operator resumed."""
    who = Actor("operator", "bastion.internal.example", "Linh")
    act = RunAct("resumed", NOW, who, "payctl_operator", "the brokers came back after the upgrade of the cluster")
    counts = {"requeued": 1}
    return Run(RUN, command, "done", who, "payctl_operator", "x", None, {}, {}, counts, NOW, NOW, [act])


def test_the_rows_of_runs_show_fold_no_word():
    """At 80 columns, `runs show` does not break words across lines, and shows short ids and operators' full names."""
    before = {"published": True, "published_at": "2026-11-23T10:00:00.123", "retry_count": 5, "last_error": "x"}
    after = {"published": False, "published_at": None, "retry_count": 0, "last_error": "x"}
    items = [
        RunItem(str(UUID(int=2**127)), "requeued", None, before, after, NOW - timedelta(hours=3), (0, 0)),
        RunItem(str(UUID(int=2**126)), "skipped", "superseded", before, None, NOW - timedelta(days=3), (0, 1)),
    ]
    result = shown(RunDetails(run_of(), tuple(items), more=False, remaining=0, since=None), None, brief=(UTC, NOW))
    lines = [line for line in lines_of([block for block in result.human if isinstance(block, Table)]) if line.strip()]
    holds(
        lines,
        "80000000",
        "40000000",
        "requeued",
        "superseded",
        "published_at",
        "2026-11-23T10:00:00.123",
        "retry_count",
    )
    holds(lines, "resumed", "(operator@bastion.internal.example),", "payctl_operator", "09:00,")
    assert not any(re.search(str(UUID(int=2**127)), line) for line in lines)


def test_runs_show_without_brief_has_whole_ids():
    """With --wide or piped output, `runs show` prints complete ids."""
    item = RunItem(str(UUID(int=2**127)), "requeued", None, None, None, NOW, (0, 0))
    result = shown(RunDetails(run_of(), (item,), more=False, remaining=0, since=None), None)
    assert str(UUID(int=2**127)) in as_text(result, TERMINAL)
    assert str(UUID(int=2**127)) in as_text(result, Surface(terminal=False, colour=False))
