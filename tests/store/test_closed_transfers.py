"""Test that PostgreSQL reads few rows to find the refused transfers that a person has closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.plans import plans_of
from ticketbottle_payctl.store.payments.closed_transfers import closed_among
from ticketbottle_payctl.store.payments.open_money import perhaps_open
from ticketbottle_payctl.store.payments.open_orders import refused
from ticketbottle_payctl.store.payments.refused_callbacks import refused_lately
from ticketbottle_payctl.store.payments.unsettled_callbacks import unsettled_callbacks

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
_RECEIPTS = """
    INSERT INTO payctl.webhook_receipts (id, received_at, provider, order_ref, reference, amount, currency, outcome,
        result, reason, method, path, query, body, body_sha256, payment_number)
    SELECT gen_random_uuid(), now() - n * interval '1 millisecond', 'momo', 'TB-1', {reference}, 1, 'VND', {outcome},
        'refused', 'wrong_amount', 'POST', '/', '', '', {body}, {number} FROM generate_series({first}, {last}) AS n
"""
REPEATS = {
    "of one transfer": {"reference": "'r'", "outcome": "'COMPLETED'", "body": "n::text::bytea", "number": "'1'"},
    "with other bytes": {"reference": "'r'", "outcome": "'COMPLETED'", "body": "n::text::bytea", "number": "NULL"},
    "of an unreadable callback": {"reference": "''", "outcome": "'UNCLEAR'", "body": "'x'", "number": "NULL"},
    "of an order": {"reference": "'r' || n", "outcome": "'COMPLETED'", "body": "n::text::bytea", "number": "'1'"},
}


def _ids(connection):
    return [str(each) for each in connection.exec_driver_sql("SELECT id FROM payctl.webhook_receipts").scalars()]


def _lately():
    now = datetime.now(UTC)
    return now - HOUR, now + HOUR


COUNTED = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")
SEARCHES = {
    "closed_among": lambda connection: closed_among(connection, _ids(connection)),
    "refused_lately": lambda connection: refused_lately(connection, 1000),
    "unsettled_callbacks": lambda connection: unsettled_callbacks(connection, HOUR, []),
    "perhaps_open": lambda connection: perhaps_open(connection, *_lately(), ["wrong_amount"], 10),
    "refused": lambda connection: refused(connection, *_lately()),
}


@pytest.fixture
def rows(engine):
    """Return a function that returns the number of rows that the last statement of a search handles."""

    def run(search):
        with plans_of(engine, "payctl.webhook_receipts") as plans, engine.connect() as connection:
            search(connection)
        return sum(sum(node.get(name, 0) for name in COUNTED) * node["Actual Loops"] for node in plans[-1])

    return run


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("search", SEARCHES)
def test_the_search_for_closed_transfers_grows_linearly_with_repeats(search, repeats, rows, execute):
    """If a gateway repeats a refused callback twice as often, a search handles at most about twice as many rows."""
    execute(_RECEIPTS.format(first=1, last=300, **REPEATS[repeats]))
    few = rows(SEARCHES[search])
    execute(_RECEIPTS.format(first=301, last=600, **REPEATS[repeats]))
    assert few >= 300
    assert rows(SEARCHES[search]) <= 2.5 * few


def test_the_search_for_the_bytes_of_an_unreadable_callback_reads_no_other_receipt(rows, execute):
    """If payctl failed to read a callback, the search for the callback's payment does not read later callbacks."""
    later = {"reference": "'r' || n", "outcome": "'COMPLETED'", "body": "sha256(n::text::bytea)", "number": "'1'"}
    execute(_RECEIPTS.format(first=8000, last=8000, **REPEATS["of an unreadable callback"]))
    (unreadable,) = execute("SELECT id::text FROM payctl.webhook_receipts")
    execute(_RECEIPTS.format(first=1, last=7000, **later))
    execute("UPDATE payctl.webhook_receipts SET payment_id = reference WHERE reference <> ''")
    execute("ANALYZE payctl.webhook_receipts")
    assert rows(lambda connection: closed_among(connection, [unreadable])) < 100


def test_a_search_without_an_unreadable_callback_reads_no_unreadable_callback(rows, execute):
    """If payctl could read the callbacks that a search asks about, the search does not read any unreadable callback."""
    execute(_RECEIPTS.format(first=1, last=5000, **REPEATS["of an order"]))
    readable, *_ = execute("SELECT id::text FROM payctl.webhook_receipts")
    execute(_RECEIPTS.format(first=1, last=5000, **REPEATS["of an unreadable callback"]))
    execute("ANALYZE payctl.webhook_receipts")
    assert rows(lambda connection: closed_among(connection, [readable])) < 100
