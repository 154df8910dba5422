"""Test the query plan of the report's search for paid orders without an event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.plans import plans_of
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.payments.open_orders import no_event

pytestmark = pytest.mark.postgres


def test_the_planner_knows_how_many_paid_orders_the_search_reads(engine):
    """The planner expects about as many COMPLETED payments as there are, so it can choose the smaller hash table."""
    with engine.begin() as connection:
        insert_events(connection, 2_000, state="published", age=timedelta(minutes=5))
        insert_payments_of_events(connection)
        connection.exec_driver_sql("ANALYZE; DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)")
    until = datetime.now(UTC)
    with engine.begin() as connection, plans_of(engine, "no_event") as plans:
        assert no_event(connection, until - timedelta(hours=1), until).number == 1
    (nodes,) = plans
    (scan,) = (node for node in nodes if node.get("Relation Name") == "payments")
    assert (scan["Actual Rows"], scan["Plan Rows"]) == (2_000, pytest.approx(2_000, rel=0.5))
