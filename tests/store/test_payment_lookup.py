"""Test that payctl finds a PayOS callback's payment in a large table without an index on the payment reference."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.plans import nodes_of
from tests.stand_ins import WITHOUT_ORDER_CODES
from ticketbottle_payctl.domain.callback import Callback, OrderHint, Outcome
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payments import lookup
from ticketbottle_payctl.store.payments import settle as payments

HINT = OrderHint("20251123", "7K9M2")
CALLBACK = Callback("payos", Outcome.COMPLETED, "a-link", "2025112312345678", "a-link", 250_000, order_hint=HINT)
MORE = """
    INSERT INTO payments SELECT (jsonb_populate_record(p, jsonb_build_object('id', n, 'idempotencyKey', n,
        'orderCode', 'TB-A' || lpad(n::text, 3, '0') || '-20251123-AAAAAAAA'))).*
    FROM payments AS p, generate_series(1, %(more)s) AS n
"""
INDEX = 'CREATE INDEX ON payments ("providerTransactionId")'


@pytest.fixture
def make(engine):
    """Return a function that inserts a PayOS payment with an order code and a reference.

    The function returns the payment's id.
    """

    def insert(order_code, reference="other", provider="PAYOS", age=0):
        with engine.begin() as connection:
            made = insert_payment(
                connection, provider=provider, order_code=order_code, reference=reference, age=timedelta(minutes=age)
            )
        return made.id

    return insert


@pytest.fixture
def say(engine):
    """Return a function that sets the estimated number of payments in the table's statistics."""

    def run(rows, *statements):
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE pg_class SET reltuples = %(rows)s WHERE oid = 'payments'::regclass", {"rows": rows}
            )
            for statement in statements:
                connection.exec_driver_sql(statement)

    return run


def found(engine, callback=CALLBACK):
    """Return the id of the payment that a callback locks, and what the connection has recorded about the index."""
    with transaction(engine, Limits(), commit=False) as connection:
        locked = payments.lock(connection, callback)
        return locked and locked[0].id, lookup.unindexed_payments(connection), lookup.needs_walk(connection, callback)


def ways(engine, callback=CALLBACK):
    """Return the number of times that each of the four payment searches is executed, in the order of the searches."""
    with transaction(engine, Limits(), commit=False) as connection:
        sql = f"EXPLAIN (ANALYZE, FORMAT json) {payments._LOCK_BY_WALK}"  # noqa: SLF001
        plan = connection.exec_driver_sql(sql, lookup.parameters(callback)).scalar_one()[0]["Plan"]

    (locking,) = (node for node in nodes_of(plan) if node["Node Type"] == "LockRows")
    tried = [node for node in locking["Plans"] if node.get("Parent Relationship") == "InitPlan"]
    return [node["Actual Loops"] for node in tried]


@pytest.mark.parametrize("collation", ["C", "en-x-icu"])
@pytest.mark.parametrize("event", ["A", "ROCK", "ROCK_HN", "ROCK2", "ROCK-2", "2", "ZZZ", "ế"])
def test_a_payos_payment_is_found_by_its_number_without_a_table_scan(engine, make, say, event, collation):
    """A PayOS payment is found by its number among other orders, whatever its event code and the collation are."""
    with engine.connect() as connection:
        known = "SELECT EXISTS (SELECT FROM pg_collation WHERE collname = %(name)s)"
        if not connection.exec_driver_sql(known, {"name": collation}).scalar_one():
            pytest.skip(f"this PostgreSQL has no collation {collation}; the system's PostgreSQL in CI has it")
    for other in ("A", "ROCK", "ROCK2", "S"):
        for day in ("20251122", "20251123", "20251124"):
            make(f"TB-{other}-{day}-AAAAAAA{other[-1]}")
    wanted = make(f"TB-{event}-20251123-ABC7K9M2", "a-link")
    say(1_000_000, f'ALTER TABLE payments ALTER "orderCode" TYPE text COLLATE "{collation}"', "ANALYZE payments")
    say(1_000_000)
    assert ways(engine) == [1, 1, 0, 0]
    assert found(engine) == (wanted, 1_000_000, True)


def test_a_payos_order_with_the_same_number_is_not_settled(engine, make, say):
    """A PayOS order number omits the event and three characters of the order code, so the reference must match too."""
    for code in ("TB-ROCK-20251123-XYZ7K9M2", "TB-JAZZ-20251123-ABC7K9M2", "TB-POP-20251123-ABD7K9M2"):
        make(code)
    say(1_000_000)
    assert found(engine)[0] is None
    wanted = make("TB-POP-20251123-ABC7K9M2", "a-link")
    assert found(engine)[0] == wanted


def test_a_payos_payment_with_another_kind_of_number_is_found_by_reference(engine, make, say):
    """A PayOS number in a different format contains no date, so payctl scans the table.

    The connection records the missing index.
    """
    wanted = make("TB-ROCK-20251123-ABC7K9M2", "a-link")
    say(1_000_000)
    callback = replace(CALLBACK, order_hint=OrderHint())
    assert ways(engine, callback) == [1, 1, 1, 0]
    assert found(engine, callback) == (wanted, 1_000_000, True)


def test_order_codes_of_another_form_do_not_end_the_index_search(engine, make, say):
    """Order codes in a different format do not end the index search, wherever they are in the sort order."""
    for code in ("ORDER-1", "TB-", "TB-ROCK", "TB-ROCK-1", "TB-ROCK-20251123", "TB-X-20251123-1-2", "tb-1", "~"):
        make(code)
    wanted = make("TB-ZZZ-20251123-ABC7K9M2", "a-link")
    say(1_000_000)
    assert ways(engine) == [1, 1, 0, 0]
    assert found(engine)[0] == wanted


def test_the_index_search_finds_only_a_payment_with_the_callback_s_number(engine, make, say):
    """The index search does not find a payment with a different number, even if its date and reference match."""
    make("TB-ROCK-20251123-AAAAAAAA", "a-link", "MOMO")
    wanted = make("TB-ROCK-20251122-AAAAAAAA", "a-link")
    say(1_000_000)
    assert ways(engine) == [1, 1, 1, 0]
    assert found(engine)[0] == wanted


@pytest.mark.parametrize(
    ("wanted", "other"),
    [
        (("TB-A-20251123-ABC7K9M2", "MOMO", 9), ("TB-B-20251123-ABC7K9M3", "PAYOS", 0)),
        (("TB-A", "Pay-OS", 9), ("TB-B", "MOMO", 0)),
        (("TB-A", "PAYOS", 0), ("TB-B", "PAYOS", 9)),
    ],
    ids=["number", "gateway", "newest"],
)
def test_of_the_payments_with_one_reference_the_best_is_chosen(engine, make, wanted, other):
    """Among payments with the same reference, payctl prefers the number, then the gateway, then the newest one."""
    made = [make(code, "a-link", provider, age) for code, provider, age in (wanted, other)]
    assert found(engine)[0] == made[0]


@pytest.mark.parametrize(("before", "searches"), [(499, [1, 1, 0, 0]), (500, [1, 1, 1, 0])])
def test_the_table_is_scanned_if_there_are_too_many_events(engine, make, say, before, searches):
    """The index search stops after 500 events. A table scan then finds the payment."""
    make("TB-A000-20251123-AAAAAAAA")
    with engine.begin() as connection:
        connection.exec_driver_sql(MORE, {"more": before - 1})
    wanted = make("TB-ZZZ-20251123-ABC7K9M2", "a-link")
    say(1_000_000)
    assert ways(engine) == searches
    assert found(engine)[0] == wanted


@pytest.mark.parametrize(
    ("rows", "statements", "walks", "reported"),
    [
        (-1, (), False, 0),
        (10_000, (), False, 0),
        (10_001, (), True, 0),
        (100_000, (), True, 0),
        (100_001, (), True, 100_001),
        (1_000_000, (INDEX,), False, 0),
        (1_000_000, ('CREATE INDEX ON payments ("providerTransactionId", id)',), False, 0),
        (1_000_000, ('CREATE INDEX ON payments (id, "providerTransactionId")',), True, 1_000_000),
        (1_000_000, (INDEX + " WHERE status = 'PENDING'",), True, 1_000_000),
        (1_000_000, (INDEX, "UPDATE pg_index SET indisvalid = false WHERE NOT indisunique"), True, 1_000_000),
    ],
)
def test_the_index_search_is_only_for_large_tables_without_an_index(
    engine, make, say, rows, statements, walks, reported
):
    """The index search is used only for a large table without a suitable index.

    The connection remembers whether it needs the index search.
    """
    wanted = make("TB-ROCK-20251123-ABC7K9M2", "a-link")
    say(rows, *statements)
    say(rows)
    assert ways(engine) == ([1, 1, 0, 0] if walks else [1, 1, 1, 0])
    assert found(engine) == found(engine) == (wanted, reported, walks)


@pytest.mark.parametrize("provider", sorted(GATEWAYS.keys() - WITHOUT_ORDER_CODES))
def test_payments_of_other_gateways_are_found_by_order_code(engine, make, say, provider):
    """If a gateway sends the order code, payctl finds its payment by this code, which has an index."""
    wanted = make("TB-1", "a-reference", provider.upper())
    say(1_000_000)
    callback = Callback(provider, Outcome.COMPLETED, "a-reference", "TB-1", "7", 250_000)
    assert found(engine, callback) == (wanted, 0, False)


@pytest.mark.parametrize("seed", range(4))
def test_every_search_finds_the_same_payment(engine, make, say, seed):
    """Every kind of search finds the same payment, even if many payments share a reference, number or event."""
    chance = random.Random(seed)  # noqa: S311
    for number in range(60):
        make(
            f"TB-{chance.choice('ABC')}-2025112{chance.choice('34')}-{number:03d}{chance.choice(['7K9M2', '7K9M3'])}",
            chance.choice(["link-1", "link-2", "link-3", "link-4"]),
            chance.choice(["PAYOS", "PayOS", "pay-os", "MOMO"]),
            age=chance.randrange(3),
        )
    callbacks = [
        replace(CALLBACK, reference=f"link-{link}", order_hint=OrderHint(day, tail))
        for link in range(1, 6)
        for day in ("20251123", "20251124", "20251125")
        for tail in ("7K9M2", "7K9M3")
    ]
    say(1)
    read = [found(engine, callback)[0] for callback in callbacks]
    engine.dispose()
    say(1_000_000)
    walked = [found(engine, callback)[0] for callback in callbacks]
    engine.dispose()
    say(1_000_000, INDEX)
    assert walked == read == [found(engine, callback)[0] for callback in callbacks]
    assert len(set(read)) > 4
