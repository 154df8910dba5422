"""Test the doctor's finding about paid orders without an event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.jobs.doctor import Status, Subject, diagnose, orders

FINE = "each order paid in the last 24 h has a success event, or an event of an unknown type"

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
NO_TICKET = "the order service does not know that the customer has paid, so there is no ticket"


@pytest.fixture
def found(engine):
    """Return a function that runs the doctor's check of paid orders and returns its finding."""

    def look():
        subject = Subject(lambda: engine, None, None, lambda _: {}, lambda: datetime.now(UTC))
        (finding,) = diagnose(subject, ["orders"]).findings
        return finding

    return look


def test_the_doctor_names_a_paid_order_without_an_event(engine, found):
    """If a COMPLETED payment has no success event, the check fails, and suggests `payctl show` with the order code."""
    Orders(engine).pay("COMPLETED", age=HOUR, order_code="TB-1").event("FAILED", "published")
    finding = found()
    assert (finding.status, finding.meaning, finding.command) == (Status.FAIL, NO_TICKET, Command(("show",), ("TB-1",)))
    assert finding.fact == "1 order paid in the last 24 h has no success event in the outbox: TB-1"
    Orders(engine).pay("COMPLETED", age=2 * HOUR, order_code="TB-2")
    finding = found()
    assert finding.fact == "2 orders paid in the last 24 h have no success event in the outbox; the oldest is TB-2"
    assert finding.command == Command(("show",), ("TB-2",))


@pytest.mark.parametrize(
    "insert",
    [
        lambda o: o.pay("COMPLETED").event(),
        lambda o: o.pay("COMPLETED").event(retries=5),
        lambda o: o.pay("COMPLETED").event(state="published"),
        lambda o: o.pay("COMPLETED").event("?", "dead"),
        lambda o: o.pay("COMPLETED", age=25 * HOUR),
        lambda o: o.pay("COMPLETED").callback(event="a deleted event"),
        lambda o: o.pay("FAILED"),
        lambda o: o.pay("PENDING"),
    ],
    ids=["pending", "dead", "published", "unknown type", "too long ago", "deleted", "failed", "not paid"],
)
def test_the_doctor_reports_no_other_order(engine, found, insert):
    """The doctor does not report an order that has or had a success event, is unpaid, or was paid too long ago.

    Another check reports an order whose only event has an unknown type.
    """
    insert(Orders(engine))
    finding = found()
    assert (finding.status, finding.fact) == (Status.OK, FINE)


def test_the_doctor_says_if_it_may_not_look_for_paid_orders_without_an_event(engine, found):
    """If a table is missing, the doctor warns that it cannot look for paid orders without an event."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE payctl.run_items")
    finding = found()
    assert (finding.status, finding.command) == (Status.WARN, None)
    assert finding.fact.startswith("payctl cannot look for paid orders without an event")


def test_the_doctor_says_if_it_did_not_find_the_paid_orders_in_time(engine, found, make_payments_slow):
    """If the search takes too long, the doctor warns, and refers to the report."""
    Orders(engine).pay("COMPLETED")
    make_payments_slow(orders)
    finding = found()
    assert (finding.status, finding.command) == (Status.WARN, Command(("report",)))
    assert finding.fact == "the paid orders without an event were not found within the time limit"
