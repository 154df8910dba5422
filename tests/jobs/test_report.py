"""Test the counts and the list limits of ``jobs/report``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from string import ascii_uppercase
from uuid import uuid4

import pytest

from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.report.model import Section
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments.open_orders import OpenOrders

pytestmark = pytest.mark.postgres


@pytest.fixture
def report(engine):
    """Return a function that collects the report about the last three hours."""

    def collect(**options):
        until = datetime.now(UTC)
        since = until - timedelta(hours=3)
        return collect_report(engine, since, until, max_retries=5, retention=timedelta(days=7), **options)

    return collect


@pytest.mark.parametrize(("minutes", "overdue"), [(19.5, 0), (20.5, 1)])
def test_a_pending_payment_is_overdue_after_twenty_minutes(engine, report, minutes, overdue):
    """The report counts a PENDING payment as overdue if it is more than 20 minutes old."""
    with engine.begin() as connection:
        insert_payment(connection, age=timedelta(minutes=minutes))
    found = report()
    assert (found.payments.overdue, found.payments.by_status) == (overdue, {"PENDING": 1})


def test_a_report_without_a_judge_of_money_has_no_order_for_a_person(report):
    """Without a function that judges money, the report does not list orders for manual review or report a gap."""
    found = report()
    assert (found.money, found.is_quiet, found.gaps) == (OpenOrders(0, 0, ()), True, ())
    assert (found.points, found.pause, found.dead_groups, found.closed) != ((), None, (), 0)
    assert sum(point.waiting for point in found.points) == 0


@pytest.mark.parametrize(
    ("beyond", "gaps"), [(0, []), (1, [("dead_groups", "too_many_groups"), ("runs", "too_many_runs")])]
)
def test_a_report_lists_at_most_200_runs_and_20_kinds_of_error(engine, report, beyond, gaps):
    """The report lists 200 runs and 20 kinds of error, and says if there are more than it lists."""
    with engine.begin() as connection:
        for _ in range(200 + beyond):
            runs.start(connection, NewRun(str(uuid4()), "close", Actor("linh", "bastion")))
        for letter in ascii_uppercase[: 20 + beyond]:
            insert_events(connection, 1, state="dead", last_error=f"{letter * 9}: no")
    found = report()
    assert (len(found.runs), len(found.dead_groups)) == (200, 20)
    assert [(gap.section, gap.reason) for gap in found.gaps] == gaps


def test_a_report_names_each_section_before_it_reads_it(report):
    """The report calls a function with the name of each section, in the order in which the sections are read."""
    seen = []
    report(looking=seen.append)
    assert (sorted(seen), seen[0]) == (sorted(Section), Section.UNPUBLISHED_ORDERS)
