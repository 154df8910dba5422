"""Test the counts and the list limits of ``jobs/report``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from string import ascii_uppercase
from uuid import uuid4

import pytest

from ticketbottle_payctl.cli.commands.report.sentence import verdict
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.report.model import GapReason, MomentKind, Section
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
    """Without a function that checks money, the report does not list orders for manual review or report a gap."""
    found = report()
    assert (found.money, found.is_quiet, found.gaps) == (OpenOrders(0, 0, ()), True, ())
    assert (found.points, found.pause, found.dead_groups, found.closed) != ((), None, (), 0)
    assert sum(point.waiting for point in found.points) == 0


@pytest.mark.parametrize(
    ("beyond", "gaps"), [(0, []), (1, [("dead_groups", "too_many_groups"), ("runs", "too_many_runs")])]
)
def test_a_report_lists_at_most_200_runs_and_20_kinds_of_error(engine, report, beyond, gaps):
    """The report lists 200 runs and 20 kinds of error, and says whether there are more."""
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


@pytest.mark.parametrize(("most", "reasons"), [(1, [GapReason.TOO_MANY_WAITING]), (2, [])])
def test_a_report_says_if_the_longest_wait_is_not_certain(engine, report, most, reasons):
    """If all events that the search reads were requeued and more are pending, the report says so."""
    with engine.begin() as connection:
        insert_events(connection, 2, age=timedelta(hours=2))
        for event_id in connection.exec_driver_sql("SELECT id FROM outbox").scalars().all():
            requeue(connection, event_id, "2026-11-01T00:00:00", 20)
    found = report(most_waiting=most)
    assert [gap.reason for gap in found.gaps if gap.section is Section.FLOW] == reasons
    assert found.waiting.longest.is_longest is (not reasons)


def requeue(connection, event_id, published_at, minutes):
    """Record that a replay requeued the event this many minutes ago."""
    connection.exec_driver_sql(
        """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after, at)
        VALUES (gen_random_uuid(), 0, 0, %(id)s, 'requeued', jsonb_build_object('published_at', %(sent)s::text), '{}',
            clock_timestamp() - make_interval(mins => %(minutes)s))""",
        {"id": event_id, "sent": published_at, "minutes": minutes},
    )


@pytest.mark.parametrize(
    ("sent", "others", "waited", "requeued", "which"),
    [
        ("2026-11-01T00:00:00", [], 20, True, "replayed"),
        (None, [], 120, False, "replayed"),
        ("2026-11-01T00:00:00", [30], 30, False, "other"),
        ("2026-11-01T00:00:00", [10], 20, True, "replayed"),
    ],
    ids=["sent before", "dead before", "behind an older wait", "before a newer wait"],
)
def test_a_requeued_event_waits_since_its_requeue(engine, report, sent, others, waited, requeued, which):
    """If a requeued event was sent before, its wait counts from the replay, and otherwise from the event's creation.

    The report's age of the oldest event still counts from its creation, as in `payctl stats`.
    """
    ids = {}
    with engine.begin() as connection:
        for name, minutes in (("replayed", 120), *(("other", each) for each in others)):
            insert_events(connection, 1, age=timedelta(minutes=minutes))
            found = connection.exec_driver_sql(
                "SELECT id FROM outbox WHERE id <> ALL(%(ids)s)", {"ids": [*ids.values()]}
            )
            ids[name] = found.scalar_one()
        requeue(connection, ids["replayed"], sent, 20)
    found = report()
    longest = found.waiting.longest
    assert (longest.id, longest.requeued) == (ids[which], requeued)
    assert longest.age_s == pytest.approx(60 * waited, abs=30)
    assert found.waiting.oldest_age_s == pytest.approx(7200, abs=30)
    (moment,) = [each for each in found.timeline if each.kind is MomentKind.OLDEST_PENDING]
    assert (moment.id, moment.what) == (ids[which], "requeued" if requeued else None)
    assert (found.at - moment.at).total_seconds() == pytest.approx(60 * waited, abs=30)
    count, span = ("2 events are" if others else "1 event is"), ("2 h" if waited == 120 else f"{waited} min")
    assert f"{count} waiting, the longest for {span}" in verdict(found)
