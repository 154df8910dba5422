"""Test the search for paid orders whose failure event was sent after or before their success event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.plans import plans_of, rows_read
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.payments.sent_failures import BEFORE_WINDOW, FAILED_BEFORE_SUCCESS, sent_failures

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
_SENT = """UPDATE outbox SET "publishedAt" = clock_timestamp() AT TIME ZONE 'UTC' - %(ago)s WHERE id = %(id)s"""


@pytest.fixture
def order(engine):
    """Return a function that inserts a paid order whose failure was sent after its success. Return its payment's id."""

    def insert(kind="FAILED", *, completed=2 * HOUR, sent=HOUR):
        ends = {kind: completed + HOUR, "COMPLETED": completed}
        orders = Orders(engine).pay("COMPLETED", age=completed + 2 * HOUR, ended=ends)
        orders.event(kind, "published", age=completed + HOUR).event(state="published", age=completed)
        with engine.begin() as connection:
            connection.exec_driver_sql(_SENT, {"ago": sent, "id": orders.events[0]})
        return orders.payment.id

    return insert


@pytest.fixture
def found(engine):
    """Return a function that returns the payments of the found orders, in a window of one day unless one is given."""

    def run(since=24 * HOUR, until=timedelta(0)):
        now = datetime.now(UTC)
        with engine.connect() as connection:
            return [each.id for each in sent_failures(connection, now - since, now - until)]

    return run


def test_the_orders_are_found_in_the_order_in_which_their_failures_were_sent(order, found):
    """Orders whose failure was sent after the success are found, earliest failure first."""
    later, earlier = order(sent=HOUR), order(sent=1.5 * HOUR)
    assert found() == [earlier, later]


def test_a_cancellation_that_was_sent_after_the_success_is_not_found(order, found):
    """The order service does not read cancellations, so the order keeps its tickets."""
    order("CANCELLED")
    assert found() == []


def test_the_window_is_about_the_time_at_which_the_failure_was_sent(order, found):
    """An order is found if its failure was sent in the window, even if it was completed up to seven days before."""
    one = order(completed=6 * 24 * HOUR, sent=2 * HOUR)
    assert (found(3 * HOUR), found(HOUR), found(3 * HOUR, 2.5 * HOUR)) == ([one], [], [])
    order(completed=BEFORE_WINDOW + 5 * HOUR, sent=2 * HOUR)
    assert found(3 * HOUR) == [one]


def test_late_money_whose_failure_was_sent_before_the_success_is_not_found(order, found):
    """If the payment failed before it was completed, the failure belongs before the success."""
    order(sent=2.5 * HOUR)
    assert found() == []


def test_a_failure_behind_the_success_is_found_although_it_was_sent_first(engine, found):
    """If the payment did not fail before it was completed, an order is found once both events were sent."""
    orders = Orders(engine).pay("COMPLETED", age=4 * HOUR, ended={"COMPLETED": 3 * HOUR, "FAILED": 2 * HOUR})
    orders.event(state="published", age=3 * HOUR).event("FAILED", "published", age=2 * HOUR)
    with engine.begin() as connection:
        connection.exec_driver_sql(_SENT, {"ago": HOUR, "id": orders.events[0]})
    assert (found(), found(HOUR / 2), found(until=1.5 * HOUR)) == ([orders.payment.id], [], [])
    with engine.connect() as connection:
        now = datetime.now(UTC)
        (one,) = sent_failures(connection, now - 24 * HOUR, now)
    assert (one.why, now - HOUR - one.at < timedelta(minutes=1)) == (FAILED_BEFORE_SUCCESS, True)


def test_the_search_reads_only_the_events_next_to_the_payments_times(engine, order, found):
    """The search reads at most 100 published events before the failure, 100 after, and as many around the success."""
    with engine.begin() as connection:
        insert_events(connection, 20_000, state="published", age=HOUR, payload_bytes=0)
    one = order(completed=timedelta(hours=1, seconds=5), sent=HOUR / 2)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    with plans_of(engine, "failed AS MATERIALIZED") as plans:
        assert found() == [one]
    assert rows_read(plans[0], "outbox") <= 500
