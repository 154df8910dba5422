"""Fixtures that insert dead events and count pending events."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events


@pytest.fixture
def dead(engine):
    """Insert four dead events and return their ids. The last event is superseded."""
    with engine.begin() as connection:
        insert_events(connection, 3, state="dead", last_error="Connection timeout to broker-1:9092")
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED", last_error="x")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
        return list(connection.exec_driver_sql('SELECT id FROM outbox ORDER BY "createdAt"').scalars())


def pending(engine):
    """Return the number of pending events."""
    with engine.connect() as connection:
        return connection.exec_driver_sql('SELECT count(*) FROM outbox WHERE "retryCount" = 0').scalar_one()
