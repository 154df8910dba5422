"""Test that first lines with long figures fit in 80 columns, and that they break between facts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.commands.report.test_sentences import QUIET, SENTENCES
from tests.domain.evidence import GONE, YOUNG, seen
from tests.jobs.test_stats_forecast import report as stats_report
from ticketbottle_payctl.cli.commands.cleanup.result import result_of as cleaned
from ticketbottle_payctl.cli.commands.doctor.result import result_of as diagnosed
from ticketbottle_payctl.cli.commands.publish_outbox.result import result_of as published
from ticketbottle_payctl.cli.commands.report.view import first_line as report_line
from ticketbottle_payctl.cli.commands.stats.picture import LiveView
from ticketbottle_payctl.cli.commands.stats.result import headline_parts
from ticketbottle_payctl.cli.output.folding import folded
from ticketbottle_payctl.cli.output.result import Result, Styled, bad, bold, headline, line, warn
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import as_text
from ticketbottle_payctl.domain.causes import idle
from ticketbottle_payctl.jobs.cleanup import CleanupReport, CleanupStoppedBecause
from ticketbottle_payctl.jobs.doctor import DoctorReport
from ticketbottle_payctl.jobs.doctor.model import fail
from ticketbottle_payctl.jobs.publish_outbox import (
    Obstacles,
    PublishCounts,
    PublishReport,
    StoppedBecause,
)
from ticketbottle_payctl.jobs.stats.live import LiveReport
from ticketbottle_payctl.store.outbox.stats import Unpublished
from ticketbottle_payctl.store.outbox.unsent_successes import UnsentSuccesses

TERMINAL = Surface(terminal=True, colour=False)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MARK = 3
"""The columns that the mark and the spaces after it take."""


def text_of(part):
    """Return a part's text."""
    return part.text if isinstance(part, Styled) else part


def facts_of(parts):
    """Return the facts of a first line: each part, or each clause of a part that is too long for one line."""
    for text in map(text_of, parts):
        yield from [text] if len(text) <= 80 - MARK else re.split(r"(?<=[,;.]) ", text)


def check(first, monkeypatch):
    """Assert that the line fits in 80 columns, and that each fact that fits on a line is on one line."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = as_text(Result("payctl.test/1", human=[first]), TERMINAL).splitlines()
    assert max(map(len, shown)) <= 80, shown
    for fact in facts_of(first.parts):
        assert len(fact) > 80 - MARK or any(fact in row for row in shown), (fact, shown)
    return shown


STATS = {
    "closed": {"dead": 1, "closed": 1, "superseded": 1, "oldest_pending_age_s": 12_345.0, "blocked": 123_456},
    "some-closed": {
        "dead": 123_456,
        "closed": 1_234,
        "superseded": 1_234,
        "oldest_pending_age_s": 987_654.0,
        "blocked": 12_345,
    },
    "harmless": {"dead": 12_345, "superseded": 12_345, "oldest_pending_age_s": 98_765.0, "blocked": 12_345},
    "debezium": {"dead": 12_345, "oldest_pending_age_s": 98_765.0, "by_debezium": True},
    "idle": {"dead": 12_345, "oldest_pending_age_s": 11.0, "idle": idle(seen(YOUNG, publishers=[GONE]))},
}


@pytest.mark.parametrize("state", STATS.values(), ids=STATS)
def test_the_first_line_of_stats_breaks_between_facts(monkeypatch, state):
    """The first line of `stats`, with and without a mark, breaks between facts."""
    report = replace(stats_report(), **state)
    check(headline(*headline_parts(report, mark=True)), monkeypatch)
    check(headline(*headline_parts(report, mark=False)), monkeypatch)


@pytest.mark.parametrize("state", STATS.values(), ids=STATS)
@pytest.mark.parametrize("width", [80, 100])
def test_the_live_screen_cuts_no_fact_of_its_first_line(state, width):
    """`stats --watch` shows each fact of its first line completely, on two rows if necessary."""
    stats = replace(stats_report(), **state)
    view = LiveView(["profile none"], lambda _: None, timedelta(seconds=2), UTC)
    view.report = view.watched.add(LiveReport(stats, None, (), (), publishers_known=True, refused=None))
    rows = view.rows(width, 24, NOW)
    first = ["".join(map(text_of, row)) for row in rows[: rows.index(["profile none"])]]
    assert (max(map(len, first)) <= width, len(rows)) == (True, 24)
    assert [fact for fact in facts_of(headline_parts(stats, mark=True)) if not any(fact in row for row in first)] == []


FACTS = [
    "1 paid order waits for a ticket behind a dead event: TB-LTDTNL-20251213-8D39986M",
    "12 events have waited for up to 3 h 20 min, and the database does not show why",
    "3 events are locked by pid 4711, psql as minh, idle in transaction, for 12 min",
    "12 events, written 2 h 3 min ago, have waited for 30 s since the last replay at 10:00",
]


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("others", [0, 1, 12])
def test_the_first_line_of_doctor_breaks_between_facts(monkeypatch, fact, others):
    """The first line of `doctor` keeps the number of other findings on one line."""
    found = DoctorReport(tuple(fail("backlog", each, "m") for each in [fact, *["other"] * others]))
    shown = check(diagnosed(found, [], None).human[0], monkeypatch)
    assert others == 0 or any(f"+{others} more" in row for row in shown)


@pytest.mark.parametrize("held", [1, 123_456])
@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("dead", [0, 12_345])
def test_the_first_line_of_publish_outbox_breaks_between_facts(monkeypatch, held, rows, dead):
    """The first line of `publish-outbox` breaks between its facts, which are separated by commas."""
    obstacles = Obstacles(locked_rows=rows, failed=12_345, unsent=UnsentSuccesses(12_345, (), 12_345, 3))
    sent = Counter({"PAYMENT_COMPLETED": 1_234_567})
    counts = PublishCounts(dead=dead, held=held + rows, batches=123, published_by_type=sent)
    check(published(PublishReport(counts, StoppedBecause.EMPTY, 3_725.0, obstacles), loop=False).human[0], monkeypatch)


@pytest.mark.parametrize("number", [1, 123_456_789])
def test_the_first_line_of_cleanup_breaks_between_facts(monkeypatch, number):
    """The first line of `cleanup` fits in 80 columns, even with long figures."""
    nothing = Unpublished(0, 0, 0, 0, None, None, None, 0, 0, {})
    because = CleanupStoppedBecause.DEADLINE
    report = CleanupReport(NOW, because, number, number, 0, number * 999, number, 0, 0, nothing, (), 98_765.0)
    check(cleaned(report, archive=None, zone=UTC, reason=None).human[0], monkeypatch)


@pytest.mark.parametrize("changes", [changes for changes, _ in SENTENCES])
def test_the_first_line_of_report_breaks_between_sentences(monkeypatch, changes):
    """The first line of `report` breaks between its sentences and clauses."""
    check(report_line(replace(QUIET, **changes)), monkeypatch)


words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=14)
facts = st.lists(words, min_size=1, max_size=7).map(" ".join)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(facts, min_size=1, max_size=6))
def test_any_first_line_breaks_between_facts(parts):
    """A first line never breaks inside a fact that fits on a line, whatever the facts are."""
    first = headline(bad("✘"), *parts)
    shown = ["".join(map(text_of, row)) for row in folded(first.parts, 2, 80, first.hang, by_clause=True)]
    assert max(map(len, shown)) <= 80
    assert [each for each in parts if len(each) <= 80 - MARK and not any(each in row for row in shown)] == []
    assert " ".join(shown).split() == " ".join(["✘", *parts]).split()


def test_other_lines_also_break_between_parts(monkeypatch):
    """In a line that is not a headline, only the longest part is broken. The parts after it stay on one line."""
    monkeypatch.setenv("COLUMNS", "60")
    long = "publishers never send dead events, and they block all later events of their payments"
    parts = (warn("!"), bold(long), "2 of 3 runs were stopped by hand", "12 dead events")
    shown = as_text(Result("payctl.test/1", human=[line(*parts)]), TERMINAL).splitlines()
    assert [row.strip() for row in shown[1:]] == [
        "later events of their payments",
        "2 of 3 runs were stopped by hand  12 dead events",
    ]
