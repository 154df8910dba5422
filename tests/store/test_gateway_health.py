"""Test the payments and callbacks of the last day that count for the health of a gateway."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.store.payments.health import health

pytestmark = pytest.mark.postgres
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
def pay(engine):
    """Return a function that inserts a payment for each age in minutes."""

    def run(*ages, status="PENDING", provider="MOMO"):
        for age in ages:
            Orders(engine).pay(status, age=age * MINUTE, provider=provider)

    return run


@pytest.fixture
def measured(engine):
    """Return a function that returns each gateway's health. A payment that is 20 to 80 minutes old is due."""

    def run():
        with engine.connect() as connection:
            return health(connection, after=20 * MINUTE, window=HOUR)

    return run


def test_a_payment_is_due_for_a_limited_time(pay, measured):
    """Payments between two ages are due. Only the PENDING payments are overdue."""
    pay(19, 21, 79, 81)
    pay(19, 30, 40, 81, status="COMPLETED")
    (found,) = measured()
    assert (found.due, found.overdue) == (4, 2)


def test_gateways_are_sorted_and_have_their_own_payments(pay, measured):
    """Each gateway's health counts only its own payments. The gateways are in alphabetical order."""
    pay(30, provider="ZALOPAY")
    pay(30, 40, provider="MOMO")
    pay(30, provider="PayOS")
    assert [(found.gateway, found.due) for found in measured()] == [("momo", 2), ("payos", 1), ("zalopay", 1)]


def test_a_gateway_is_silent_since_its_last_callback(engine, pay, measured):
    """A gateway's silence begins with the first payment after its last callback. Other gateways' calls do not count."""
    pay(30, 20, 10)
    Orders(engine).callback(age=40 * MINUTE).callback(age=25 * MINUTE).callback(age=MINUTE, provider="vnpay")
    (found,) = measured()
    assert (found.created_since, 1200 <= found.silent_s < 1800) == (2, True)
    Orders(engine).callback(age=MINUTE)
    assert [(each.created_since, each.silent_s) for each in measured()] == [(0, None)]


def test_only_the_last_day_counts(engine, pay, measured):
    """Payments and callbacks that are older than a day do not count."""
    pay(60 * 25, 60 * 23)
    Orders(engine).callback(age=24.5 * HOUR)
    (found,) = measured()
    assert (found.created_since, 82_000 < found.silent_s < 86_400) == (1, True)


@pytest.fixture
def pay_before_noon(engine):
    """Return a function that inserts one payment per age. An age is the time from the payment to noon."""

    def run(*ages):
        for age in ages:
            orders = Orders(engine).pay("PENDING")
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    'UPDATE payments SET "createdAt" = %s WHERE id = %s',
                    (NOON.replace(tzinfo=None) - age, orders.payment.id),
                )

    return run


def test_the_bounds_of_the_due_ages_are_not_due(pay_before_noon, at_noon):
    """A payment is due if its age is between the two limits."""
    for bound in (20 * MINUTE, 80 * MINUTE):
        pay_before_noon(bound - MILLISECOND, bound, bound + MILLISECOND)
    (found,) = health(at_noon, after=20 * MINUTE, window=HOUR)
    assert (found.due, found.overdue) == (2, 2)


def test_a_payment_of_exactly_one_day_does_not_count(pay_before_noon, at_noon):
    """A payment counts until it is one day old."""
    pay_before_noon(DAY - MILLISECOND, DAY)
    (found,) = health(at_noon, after=20 * MINUTE, window=HOUR)
    assert (found.created_since, found.silent_s) == (1, 86_399.999)


def test_a_payment_of_the_instant_of_the_last_callback_does_not_begin_a_silence(pay_before_noon, call, engine, at_noon):
    """A gateway's silence begins with the first payment that was created strictly after its last callback."""
    pay_before_noon(HOUR, HOUR - MILLISECOND)
    call(Orders(engine), -HOUR)
    (found,) = health(at_noon, after=20 * MINUTE, window=HOUR)
    assert (found.created_since, found.silent_s) == (1, 3_599.999)
