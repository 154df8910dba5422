"""Test that the pages of ``jobs/list_rows`` contain each matching row once, and that error groups are complete."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from functools import partial

import pytest

from ticketbottle_payctl.jobs.error_groups import group_errors
from ticketbottle_payctl.jobs.list_rows import list_rows
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payments.list_payments import PAYMENTS_PAGE, PaymentSelector, list_payments
from ticketbottle_payctl.store.payments.list_receipts import ReceiptSelector, list_receipts

pytestmark = pytest.mark.postgres
OUTBOX = partial(list_events, selector=Selector(), max_retries=5)


def ids_of(rows):
    """Return the ids in a listing."""
    return [row["id"] for row in rows]


def in_order(engine):
    """Return all ids in the database's order, starting with the newest row."""
    with engine.connect() as connection:
        sql = 'SELECT id FROM outbox ORDER BY "createdAt" DESC, id COLLATE "C" DESC'
        return list(connection.exec_driver_sql(sql).scalars())


def test_pages_of_a_listing_have_no_gap_and_no_repetition(engine):
    """With any page size, a listing contains each published and unpublished event once, in the same order."""
    with engine.begin() as connection:
        insert_events(connection, 3000, state="published")
        insert_events(connection, 2500, state="dead")
    assert ids_of(list_rows(engine, OUTBOX, limit=None)) == in_order(engine)
    found, after = [], None
    for size in (1, 2000, 1999, 5000):
        page = list_rows(engine, OUTBOX, limit=size, after=after)
        found += ids_of(page)
        after = page.next
    assert (found, after, page.more) == (in_order(engine), None, False)


def test_payments_are_listed_in_large_pages(engine):
    """A listing of payments reads large pages, because the database sorts the whole table for each page."""
    with engine.begin() as connection:
        insert_events(connection, 5000)
        insert_payments_of_events(connection)
    statements = []

    def payments(connection, size, before):
        statements.append(size)
        return list_payments(connection, size, before, selector=PaymentSelector())

    whole = ids_of(list_rows(engine, payments, limit=None, page_size=PAYMENTS_PAGE))
    assert (len(set(whole)), len(statements)) == (5000, 1)
    assert ids_of(list_rows(engine, payments, limit=None, page_size=999)) == whole
    assert len(statements) == 7


def test_pages_split_rows_of_one_instant_correctly(engine):
    """If many rows have the same timestamp, the pages of a listing still contain each row once."""
    with engine.begin() as connection:
        insert_events(connection, 50)
        connection.exec_driver_sql('UPDATE outbox SET "createdAt" = now()')
    first = list_rows(engine, OUTBOX, limit=20)
    found = ids_of(first) + ids_of(list_rows(engine, OUTBOX, limit=100, after=first.next))
    assert found == in_order(engine)


@pytest.mark.parametrize(("limit", "more"), [(19, True), (20, False), (21, False)])
@pytest.mark.parametrize("page_size", [5, 20, 2000])
def test_a_listing_with_as_many_rows_as_its_limit_is_complete(engine, limit, more, page_size):
    """A listing says that more rows exist only if the limit left out a row, whatever the size of its pages is."""
    with engine.begin() as connection:
        insert_events(connection, 20)
    listing = list_rows(engine, OUTBOX, limit=limit, page_size=page_size)
    found = ids_of(listing)
    assert found == in_order(engine)[:limit]
    assert (listing.more, listing.next and listing.next.id, listing.count) == (
        more,
        found[-1] if more else None,
        len(found),
    )


def test_a_long_listing_takes_no_more_memory_than_a_short_one(engine):
    """A listing keeps only its most recent pages in memory."""
    with engine.begin() as connection:
        insert_events(connection, 12_000)

    def most(limit):
        tracemalloc.start()
        for _ in list_rows(engine, OUTBOX, limit=limit):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(10)
    assert most(None) < 1.3 * most(6000)


def test_payments_are_selected_by_status_age_gateway_and_order(engine):
    """Each selector for a listing of payments finds exactly the matching payments."""
    with engine.begin() as connection:
        old = insert_payment(connection, age=timedelta(hours=1))
        insert_payment(connection)
        done = insert_payment(connection, provider="VNPAY", status="COMPLETED")
    for selector, expected in (
        (PaymentSelector(stuck=timedelta(minutes=20)), [old.id]),
        (PaymentSelector(statuses=("COMPLETED", "FAILED")), [done.id]),
        (PaymentSelector(provider="vnpay"), [done.id]),
        (PaymentSelector(order_codes=(old.order_code,)), [old.id]),
        (PaymentSelector(ids=(old.id, "nope")), [old.id]),
    ):
        assert ids_of(list_rows(engine, partial(list_payments, selector=selector), limit=None)) == expected


def test_a_listed_event_has_its_order_code_and_says_if_it_is_superseded(engine):
    """A listed event shows its order code and gateway, and whether it is superseded."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    (row,) = list_rows(engine, OUTBOX, limit=None)
    assert (row["state"], row["superseded"], row["provider"]) == ("dead", True, "ZALOPAY")
    assert row["order_code"].startswith("TB-DEMO-")


def test_receipts_are_listed_newest_first_and_each_once(engine):
    """The pages of a listing contain each receipt once, starting with the newest."""
    insert = """
        INSERT INTO payctl.webhook_receipts (id, received_at, provider, order_ref, reference, currency, outcome,
            result, method, path, query, body, body_sha256)
        SELECT gen_random_uuid(), now() - n / 3 * interval '1 minute', 'momo', 'o', 'r', 'VND', 'COMPLETED', 'settled',
            'POST', '/', '', '', '' FROM generate_series(1, 10) AS n
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(insert)
        ordered = "SELECT id::text FROM payctl.webhook_receipts ORDER BY received_at DESC, id DESC"
        expected = list(connection.exec_driver_sql(ordered).scalars())
    receipts = partial(list_receipts, selector=ReceiptSelector())
    found, after = [], None
    for size in (1, 3, 4, 9):
        page = list_rows(engine, receipts, limit=size, after=after)
        found += ids_of(page)
        after = page.next
    assert found == expected


def test_a_truncated_list_of_error_groups_says_so(engine):
    """A list of error groups says that it is truncated only if a group is left out. The largest groups come first."""
    with engine.begin() as connection:
        for count, error in ((1, "alpha"), (3, "beta"), (2, "gamma")):
            insert_events(connection, count, state="dead", last_error=error)
    groups = [("beta", 3), ("gamma", 2), ("alpha", 1)]
    for limit, truncated in ((2, True), (3, False), (4, False)):
        report = group_errors(engine, Selector(), max_retries=5, limit=limit)
        assert [(group.pattern, group.count) for group in report.groups] == groups[:limit]
        assert (report.truncated, report.events, report.closed) == (truncated, 5 if truncated else 6, 0)


def test_error_groups_are_complete_if_the_waiting_events_take_too_long(engine):
    """If counting the waiting events takes too long, the report lists the error groups without this count."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", last_error="alpha")
    with engine.begin() as holder:
        holder.exec_driver_sql("LOCK TABLE payctl.publishers IN ACCESS EXCLUSIVE MODE")
        report = group_errors(engine, Selector(), max_retries=5, limit=2, patience=timedelta(milliseconds=300))
    assert ([group.count for group in report.groups], report.waiting, report.timed_out) == ([2], None, True)
    report = group_errors(engine, Selector(), max_retries=5, limit=2)
    assert (report.waiting, report.timed_out) == ((0, False, False), False)
