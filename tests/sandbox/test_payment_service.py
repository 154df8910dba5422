"""Test that the sandbox creates tables, payments and events as the payment service does."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from ticketbottle_payctl.sandbox.payment_service import (
    insert_events,
    insert_payment,
    insert_payments_of_events,
)

ROW = text("""
    SELECT published, "publishedAt" IS NOT NULL AS sent, "retryCount", octet_length(payload::text) AS bytes
    FROM outbox
""")


def test_the_sandbox_s_tables_are_those_of_production(engine):
    """The sandbox's tables have the same enum and indexes as production. The payment's reference has no index."""
    with engine.connect() as connection:
        labels = connection.execute(text('SELECT enum_range(NULL::"PaymentStatus")::text')).scalar_one()
        indexes = connection.execute(
            text("SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname")
        ).scalars()
        assert labels == "{PENDING,COMPLETED,FAILED,CANCELLED}"
        assert list(indexes) == [
            "outbox_pkey",
            "outbox_published_createdAt_idx",
            "payments_idempotencyKey_key",
            "payments_orderCode_idx",
            "payments_orderCode_key",
            "payments_pkey",
        ]


@pytest.mark.parametrize(
    ("state", "row"),
    [
        ("pending", (False, False, 0, 350)),
        ("published", (True, True, 0, 350)),
        ("dead", (False, False, 5, 350)),
        ("sent_unmarked", (False, True, 0, 350)),
    ],
)
def test_the_sandbox_inserts_events_of_each_state(engine, state, row):
    """`insert_events` sets the columns for the requested state and a payload of the requested size."""
    with engine.begin() as connection:
        insert_events(connection, 20, state=state, payload_bytes=350)
        assert {tuple(found) for found in connection.execute(ROW)} == {row}


def test_events_are_distributed_over_their_payments(engine):
    """If ten events are distributed over three payments, they have ten different instants."""
    with engine.begin() as connection:
        insert_events(connection, 10, aggregates=3, age=timedelta(hours=1))
        different = connection.execute(text('SELECT count(DISTINCT "createdAt") FROM outbox')).scalar_one()
        assert (different, insert_payments_of_events(connection)) == (10, 3)


@pytest.mark.parametrize(
    ("status", "column"), [("COMPLETED", "completedAt"), ("FAILED", "failedAt"), ("CANCELLED", "cancelledAt")]
)
def test_a_settled_payment_has_the_instant_of_its_state(engine, status, column):
    """A payment in a final state has a timestamp for that state but not for any other state."""
    with engine.begin() as connection:
        payment = insert_payment(connection, status=status, metadata={"campaign": "summer"})
        row = connection.execute(text("SELECT * FROM payments WHERE id = :id"), {"id": payment.id}).mappings().one()
    stamped = {name for name in ("completedAt", "failedAt", "cancelledAt") if row[name] is not None}
    assert (row["status"], stamped, row["metadata"]) == (status, {column}, {"campaign": "summer"})
