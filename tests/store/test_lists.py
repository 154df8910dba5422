"""Test the limits of a list's windows and pages, and the order of rows with the same time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.db.pages import PagePosition
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payments.list_payments import PaymentSelector, list_payments
from ticketbottle_payctl.store.payments.list_receipts import ReceiptSelector, list_receipts

pytestmark = pytest.mark.postgres
HOUR, MILLISECOND = timedelta(hours=1), timedelta(milliseconds=1)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
IDS = [f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd"]
PLACES = {
    "events": ("outbox", '"createdAt"'),
    "payments": ("payments", '"createdAt"'),
    "receipts": ("payctl.webhook_receipts", "received_at"),
}
LISTS = {
    "events": lambda *page, **window: list_events(*page, selector=Selector(**window), max_retries=5),
    "payments": lambda *page, **window: list_payments(*page, selector=PaymentSelector(**window)),
    "receipts": lambda *page, **window: list_receipts(*page, selector=ReceiptSelector(**window)),
}
WRITERS = {
    "events": lambda engine, name: Orders(engine).event(id=name),
    "payments": lambda engine, name: Orders(engine).pay(id=name),
    "receipts": lambda engine, name: Orders(engine).callback(id=name),
}


@pytest.fixture(params=LISTS)
def kind(request):
    """Return the kind of rows in a list."""
    return request.param


@pytest.fixture
def write(engine, kind):
    """Return a function that inserts a row with an id and a time."""

    def run(name, at):
        WRITERS[kind](engine, name)
        table, column = PLACES[kind]
        with engine.begin() as connection:
            sql = f"UPDATE {table} SET {column} = %(at)s WHERE id::text = %(id)s"  # noqa: S608
            connection.exec_driver_sql(sql, {"at": at, "id": name})

    return run


@pytest.fixture
def listed(engine, kind):
    """Return a function that returns the ids in a list."""

    def run(limit=9, before=None, **window):
        with engine.connect() as connection:
            return [str(each.values[0]) for each in LISTS[kind](connection, limit, before, **window)]

    return run


def test_a_window_of_a_list_includes_its_first_instant_and_not_its_last(write, listed):
    """A list's window includes its start but not its end."""
    for name, at in zip(IDS, (NOON - MILLISECOND, NOON, NOON + HOUR - MILLISECOND, NOON + HOUR), strict=True):
        write(name, at)
    assert listed(since=NOON, until=NOON + HOUR) == [IDS[2], IDS[1]]
    assert listed(since=NOON) == IDS[:0:-1]
    assert listed(until=NOON + HOUR) == IDS[2::-1]


def test_rows_of_one_instant_are_listed_by_id(write, listed):
    """Rows with the same time are listed with the highest id first. The next page begins after the last listed row."""
    for name, at in zip(IDS, (NOON, NOON + HOUR, NOON, NOON), strict=True):
        write(name, at)
    everything = [IDS[1], IDS[3], IDS[2], IDS[0]]
    assert listed() == everything
    assert listed(2) == everything[:2]
    assert listed(1, PagePosition(NOON, IDS[3])) == [IDS[2]]
    assert listed(9, PagePosition(NOON, IDS[2])) == [IDS[0]]


def test_a_list_without_the_wanted_row_is_empty(write, listed):
    """A list of selected ids has only the rows with these ids."""
    for name in IDS[:2]:
        write(name, NOON)
    assert listed(ids=(IDS[0],)) == [IDS[0]]
    assert listed(ids=(IDS[2],)) == []


def test_an_event_without_a_payment_is_listed(engine):
    """An event whose payment does not exist is listed without an order code."""
    gone = Orders(engine).event()
    with engine.connect() as connection:
        (found,) = list_events(connection, 9, None, selector=Selector(), max_retries=5)
    assert (found.row["id"], found.row["order_code"], found.row["provider"]) == (gone.events[0], None, None)


@pytest.mark.parametrize(("age", "expected"), [(2, 1), (0, 0)])
def test_a_payment_is_stuck_if_it_has_been_pending_for_long(engine, age, expected):
    """A payment is stuck if it is PENDING and older than the given time."""
    Orders(engine).pay("FAILED", age=9 * HOUR)
    Orders(engine).pay(age=age * HOUR)
    with engine.connect() as connection:
        assert len(list_payments(connection, 9, None, selector=PaymentSelector(stuck=HOUR))) == expected


def test_receipts_are_found_by_the_order_they_name_or_belong_to(engine):
    """A receipt is listed for an order code if it names the order, or if it belongs to the order's payment."""
    orders = Orders(engine).pay()
    orders.callback(payment=None).callback(order_ref="another").callback(order_ref="another", payment=None)
    with engine.connect() as connection:
        found = list_receipts(connection, 9, None, selector=ReceiptSelector(order_codes=(orders.payment.order_code,)))
    assert {each.row["id"]: each.row["order_code"] for each in found} == {
        orders.receipts[0]: None,
        orders.receipts[1]: orders.payment.order_code,
    }


@pytest.fixture
def run_at(engine):
    """Return a function that inserts a run that began and ended at the given hours after noon."""

    def insert(name, began, ended):
        values = (name, NOON + began, None if ended is None else NOON + ended)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                """INSERT INTO payctl.runs (id, command, status, os_user, host, started_at, finished_at)
                VALUES (%s, 'replay', 'done', 'ops', 'bastion', %s, %s)""",
                values,
            )

    return insert


def test_runs_that_began_or_ended_in_a_window_are_in_it(engine, run_at):
    """A window has the runs that began or ended in it. The window includes its start but not its end."""
    run_at(IDS[0], 0 * HOUR, 9 * HOUR)
    run_at(IDS[1], -HOUR, 0 * HOUR)
    run_at(IDS[2], -HOUR, HOUR)
    run_at(IDS[3], HOUR, None)
    with engine.connect() as connection:
        assert [run.id for run in runs.between(connection, NOON, NOON + HOUR, 9)] == [IDS[1], IDS[0]]
        assert [run.id for run in runs.between(connection, NOON - HOUR, NOON, 9)] == IDS[1:3]
        assert [run.id for run in runs.between(connection, NOON - HOUR, NOON, 1)] == [IDS[1]]


def test_a_page_of_runs_begins_after_the_last_run(engine, run_at):
    """A page of runs has the latest runs first, and the next page begins after the last run of the page."""
    for name, hours in zip(IDS, (1, 0, 0, 2), strict=True):
        run_at(name, hours * HOUR, None)
    with engine.connect() as connection:
        assert [run.id for run in runs.page(connection, 3)] == [IDS[3], IDS[0], IDS[2]]
        assert [run.id for run in runs.page(connection, 3, (NOON, IDS[2]))] == [IDS[1]]
        assert [run.id for run in runs.page(connection, 1, (NOON + HOUR, IDS[0]))] == [IDS[2]]
