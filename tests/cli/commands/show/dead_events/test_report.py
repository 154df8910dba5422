"""Test the output of ``payctl report`` about dead events that a person has closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR
from ticketbottle_payctl.jobs.report import collect_report

pytestmark = pytest.mark.postgres


def test_the_report_is_quiet_once_the_dead_event_is_closed(dead, close, ask, invoke, database_url):
    """After `payctl close EVENT`, the report says who dealt with the dead event, and no longer lists it as open."""
    report = ask("report", "--since", "3h")["result"]
    assert (report["quiet"], "1 event is dead, superseded: harmless." in report["verdict"]) == (False, True)
    close(dead)
    report = ask("report", "--since", "3h")
    assert (report["result"]["quiet"], report["result"]["dead_groups"][0]["closed"]) == (True, 1)
    assert {each["name"]: each["value"] for each in report["items"]}["dead"] == 1
    text = invoke("report", "--since", "3h", DATABASE_URL=database_url).stdout
    assert text.startswith("# ✔ Nothing is open: each paid order has its event, no event is waiting, and 1 dead event ")
    assert "was closed by an operator.\n" in text
    assert "## Open now\n\nNothing is open.\n" in text


def test_the_report_names_the_dead_events_that_are_not_closed(dead, orders, close, ask, invoke, database_url):
    """If one of two dead events is closed, the report counts the closed event separately."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
    orders.event(state="published")
    close(dead)
    report = ask("report", "--since", "3h")["result"]
    assert "1 event is dead, superseded: harmless, 1 closed by an operator." in report["verdict"]
    assert report["quiet"] is False
    text = invoke("report", "--since", "3h", DATABASE_URL=database_url).stdout
    assert "* 1 dead event, superseded: harmless, 1 closed by an operator, group" in text


def test_a_closed_event_that_blocks_a_later_one_counts_as_dead(dead, orders, close, ask):
    """If an event is created behind a closed event, the report and `payctl stats` do not call the closed one harmless.

    A customer might be waiting for the event behind it.
    """
    close(dead)
    orders.event(age=timedelta(minutes=1))
    verdict = ask("report", "--since", "3h")["result"]["verdict"]
    assert ("1 event is dead." in verdict, "closed by an operator" in verdict) == (True, False)


def test_a_report_without_the_error_groups_is_not_quiet_about_closed_events(dead, close, engine):
    """If the report fails to read the closed events, the report counts the dead event as open."""
    close(dead)
    until = datetime.now(UTC)
    report = collect_report(engine, until - 3 * HOUR, until, max_retries=5, retention=timedelta(days=7))
    assert report.is_quiet
    assert not replace(report, closed=0).is_quiet
