"""Insert the pending failure event of a paid order. A publisher would send it and take the order's tickets."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events


def insert_late_failure(connection: Connection) -> str:
    """Insert a COMPLETED payment whose failure event is pending, and return the event's name in messages."""
    insert_events(connection, 1, event_type="PAYMENT_FAILED", age=timedelta(hours=2))
    insert_payments_of_events(connection)
    event_id, payment, code = connection.exec_driver_sql(
        "SELECT id, \"aggregateId\", payload->>'order_code' FROM outbox WHERE \"eventType\" = 'PAYMENT_FAILED'"
    ).one()
    connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED' WHERE id = %(id)s", {"id": payment})
    return f"{code} ({event_id[:8]})" if code else str(event_id)


def slow_down_payments(connection: Connection, seconds: float) -> None:
    """Replace the table ``payments`` with a view. A statement that reads a COMPLETED payment takes ``seconds`` longer.

    The delay is for each COMPLETED payment that the statement reads.
    """
    connection.exec_driver_sql("ALTER TABLE payments RENAME TO real_payments")
    delay = f"pg_sleep({seconds})::text IS NOT NULL"
    connection.exec_driver_sql(
        f"CREATE VIEW payments AS SELECT * FROM real_payments WHERE status <> 'COMPLETED' OR {delay}"  # noqa: S608
    )
