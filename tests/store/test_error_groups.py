"""Test that the statement that groups errors reads a large backlog behind superseded dead events only once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.plans import plans_of
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.outbox import error_groups
from ticketbottle_payctl.store.outbox.selector import Selector

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
BEHIND = """
    UPDATE outbox SET "aggregateId" = (SELECT min("aggregateId") FROM outbox WHERE "retryCount" > 0)
    WHERE id = (SELECT max(id) FROM outbox WHERE "retryCount" = 0)
"""


@pytest.fixture
def grouped(engine):
    """Group 300 superseded dead events, and return the group and its plan. 4,000 events are pending.

    The memory limit is too small for a hash table of the pending events.
    """
    with engine.begin() as connection:
        insert_events(connection, 300, event_type="PAYMENT_FAILED", state="dead", age=HOUR)
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
        insert_events(connection, 4_000)
        connection.exec_driver_sql(BEHIND)
    with engine.begin() as connection, plans_of(engine, "WITH") as plans:
        connection.exec_driver_sql("ANALYZE; SET LOCAL work_mem = '64kB'")
        (group,) = error_groups.groups(connection, Selector(), 5, 10)
    (nodes,) = plans
    return group, nodes


def test_the_pending_events_behind_superseded_ones_are_found_in_hash_tables(grouped):
    """The server reads the pending events once, and searches for their payments in hash tables only."""
    group, nodes = grouped
    assert (group.superseded, group.blocking) == (300, 1)
    scans = [node for node in nodes if node.get("Relation Name") == "outbox"]
    assert {node["Actual Loops"] for node in scans} == {1}
    assert not [node for node in nodes if node["Node Type"] == "Materialize"]
    assert [node["Actual Loops"] for node in nodes if node["Node Type"] == "ProjectSet"] == [1, 1]
    assert ["hashed SubPlan" in node["Filter"] for node in scans if node["Alias"] == "w"] == [True]
