"""Test the search for gateways that no longer send callbacks, with payments and receipts from one day."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest

from ticketbottle_payctl.jobs.watch_payments import GatewayWatch, watch_payments
from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres
numbers = count(1)


@pytest.fixture
def payments(engine):
    """Return a function that inserts payments that were created the given number of minutes ago."""

    def insert(many, minutes, status="PENDING", provider="VNPAY"):
        with engine.begin() as connection:
            for _ in range(many):
                made = insert_payment(connection, provider=provider, reference=f"w{next(numbers)}", status=status)
                connection.exec_driver_sql(
                    """UPDATE payments SET "createdAt" = (clock_timestamp() AT TIME ZONE 'UTC') - %s WHERE id = %s""",
                    (timedelta(minutes=minutes), made.id),
                )

    return insert


@pytest.fixture
def called(engine):
    """Return a function that inserts a genuine callback that arrived the given number of minutes ago."""

    def insert(minutes, provider="vnpay"):
        with engine.begin() as connection:
            connection.exec_driver_sql(
                """
                INSERT INTO payctl.webhook_receipts (id, provider, received_at, order_ref, reference, currency, outcome,
                    result, method, path, query, body, body_sha256)
                VALUES (%s, %s, clock_timestamp() - %s, '', '', 'VND', 'IGNORED', 'ignored', 'GET', '', '', '', '')
                """,
                (str(uuid4()), provider, timedelta(minutes=minutes)),
            )

    return insert


def only(found):
    """Return the only gateway in the result."""
    (one,) = found
    return one


def test_a_gateway_without_payments_is_not_measured(engine):
    """A gateway without recent payments is not measured, so it does not raise an alarm."""
    assert watch_payments(engine) == []


@pytest.mark.parametrize(
    ("pending", "settled", "percent"),
    [(5, 0, 100.0), (9, 1, 90.0), (4, 0, 0.0), (0, 20, 0.0), (10, 30, 25.0)],
)
def test_the_share_of_pending_payments_needs_five_payments(engine, payments, pending, settled, percent):
    """The share of pending payments covers payments that are 30 to 90 minutes old, and is 0 for fewer than five."""
    payments(pending, 45)
    payments(settled, 45, status="COMPLETED")
    found = only(watch_payments(engine))
    assert (found.gateway, found.overdue, found.unsettled_percent) == ("vnpay", pending, percent)


@pytest.mark.parametrize("minutes", [5, 29, 91, 23 * 60])
def test_a_very_young_or_old_payment_does_not_count_as_unsettled(engine, payments, minutes):
    """A payment that is younger than 30 minutes or older than 90 minutes does not count as unsettled."""
    payments(20, minutes)
    found = only(watch_payments(engine))
    assert (found.overdue, found.unsettled_percent) == (0, 0.0)


@pytest.mark.parametrize("minutes", [30.5, 89.5])
def test_a_payment_counts_as_unsettled_for_an_hour(engine, payments, minutes):
    """A PENDING payment counts as unsettled while it is 30 to 90 minutes old."""
    payments(5, minutes)
    found = only(watch_payments(engine))
    assert (found.overdue, found.unsettled_percent) == (5, 100.0)


@pytest.mark.parametrize(
    ("created", "last_call", "hours"),
    [
        ([180, 170, 160, 150, 140], None, 3.0),
        ([180, 170, 160, 150, 140], 200, 3.0),
        ([180, 170, 160, 150, 140], 175, 0.0),
        ([240, 180, 170, 160, 150, 140], 200, 3.0),
        ([180, 170, 160, 150, 140], 1, 0.0),
        ([180, 170, 160, 150], None, 0.0),
    ],
    ids=["never called", "called before", "four since", "one before", "calls", "too few"],
)
def test_the_silence_of_a_gateway_is_measured_while_payments_are_created(
    engine, payments, called, created, last_call, hours
):
    """A gateway's silence starts with the first payment after its last callback. At least five payments are needed."""
    for minutes in created:
        payments(1, minutes)
    if last_call is not None:
        called(last_call)
    assert only(watch_payments(engine)).silent_s == pytest.approx(hours * 3600, abs=120)


def test_each_gateway_is_measured_separately(engine, payments, called):
    """Each gateway is measured separately, however its name is spelled. Unknown gateways are left out."""
    payments(6, 45, provider="ZALO_PAY")
    payments(6, 45, provider="MOMO", status="COMPLETED")
    payments(6, 45, provider="PAYPAL")
    called(5, "momo")
    watched = watch_payments(engine)
    assert [one.gateway for one in watched] == ["momo", "zalopay"]
    found = {one.gateway: one for one in watched}
    assert (found["zalopay"].unsettled_percent, found["momo"].unsettled_percent) == (100.0, 0.0)
    assert found["momo"] == GatewayWatch("momo", 0, 0.0, 0.0)
    assert found["zalopay"].silent_s > 2600


def test_a_payment_of_the_instant_of_the_last_callback_was_not_created_since(engine, payments, called, execute):
    """A payment that was created at the same time as the last callback does not count as created after it."""
    payments(1, 60)
    called(60)
    execute("""UPDATE payctl.webhook_receipts SET received_at = "createdAt" AT TIME ZONE 'UTC' FROM payments""")
    payments(4, 30)
    assert only(watch_payments(engine)).silent_s == 0.0
    payments(1, 30)
    assert only(watch_payments(engine)).silent_s == pytest.approx(1800, abs=120)
