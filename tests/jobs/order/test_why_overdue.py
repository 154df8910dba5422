"""Test the facts that `payctl show` reads to find out why an event waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from ticketbottle_payctl.jobs.order import VerdictKind, show
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = pytest.mark.postgres
CUT_OFF = """INSERT INTO payctl.publishers VALUES (1, 'host:12:x cannot reach its brokers: no broker answers',
    clock_timestamp() - interval '4 s')"""
BACKLOG = ("WITH waiting", "WITH each", "judged", "lastError")
"""Parts of the statements that read the pending or dead events of the whole outbox."""


@pytest.fixture
def statements(engine):
    """Return a list to which each statement of the test's engine is added."""
    found = []
    event.listen(engine, "before_cursor_execute", lambda *call: found.append(call[2]))
    return found


@pytest.mark.parametrize(("publishers", "most", "searches"), [([], 5, 2), ([CUT_OFF], 7, 0)])
def test_show_reads_only_locks_and_publishers_to_explain_a_new_event(
    engine, execute, statements, publishers, most, searches
):
    """For an event that is seconds old, `show` reads the locks on the outbox and the publishers, but no other events.

    If the last publisher could not reach its brokers, `show` also reads when an event was last sent. Before `show`
    advises to publish, it searches once for pending failure events of paid orders, because a publisher must not send
    them.
    """
    with engine.begin() as connection:
        insert_events(connection, 5, state="dead", age=timedelta(minutes=9))
        insert_events(connection, 1, age=timedelta(seconds=5))
        insert_payments_of_events(connection)
        new = connection.exec_driver_sql('SELECT id FROM outbox ORDER BY "createdAt" DESC LIMIT 1').scalar_one()
    for each in publishers:
        execute(each)
    statements.clear()
    timeline = show(engine, new, max_retries=5, now=datetime.now(UTC))
    begins = [number for number, each in enumerate(statements) if each.startswith("BEGIN")]
    first = begins[-2] if searches else begins[-1]  # BEGIN is in the same message as the first statement
    own, search = statements[first : first + most], statements[first + most :]
    assert (timeline.verdict.kind, timeline.verdict.cause is not None) == (VerdictKind.WAITING, bool(publishers))
    assert len(own) == most, own
    assert ["failure AS" in each for each in search] == [False, True][:searches]  # the first one reads the rights
    assert not [each for each in own if any(part in each for part in BACKLOG)]
