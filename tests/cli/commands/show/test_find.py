"""Test that ``payctl show`` finds an order by the last characters of its code."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.store.payments import history
from ticketbottle_payctl.store.payments.history import SHORTEST_ENDING
from ticketbottle_payctl.store.payments.similar_codes import similar_codes

pytestmark = pytest.mark.postgres
CODES = ("TB-SUMMER-20261123-9E641D25", "TB-SUMMER-20261123-11641D25", "TB-WINTER-20261123-00_%A0B1", "TB-X-1")


@pytest.fixture(autouse=True)
def payments(engine):
    """Insert four orders, starting with the oldest. Two order codes end with the same characters."""
    with engine.begin() as connection:
        for place, code in enumerate(CODES):
            insert_payment(connection, order_code=code, age=timedelta(minutes=9 - place))


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("9E641D25", CODES[0]),
        ("9e641d25", CODES[0]),
        ("E641d25", CODES[0]),
        ("tb-summer-20261123-9e641d25", CODES[0]),
        ("11641D25", CODES[1]),
        ("_%a0b1", CODES[2]),
        ("tb-x-1", CODES[3]),
    ],
)
def test_an_order_is_found_by_its_last_characters_in_any_case(ask, typed, found):
    """`payctl show` finds an order by the last characters of its code, in upper or lower case."""
    assert ask("show", typed)["result"]["order_code"] == found


def test_several_orders_with_the_same_last_characters_are_listed(ask, invoke, database_url):
    """If several order codes end with the given characters, `payctl show` lists them and exits with 2."""
    document = ask("show", "641d25")
    error = document["error"]
    assert (document["exit_code"], error["message"][:42]) == (2, "2 order codes end in 641d25, latest first:")
    assert all(code in error["message"] for code in CODES[:2])
    assert error["hint"] == f"give the whole code: `payctl show {CODES[1]}`"
    assert CODES[0] in invoke("show", "641d25", DATABASE_URL=database_url).stderr


@pytest.mark.parametrize("reference", ["link-of-nobody", "2026112351382274"])
def test_the_code_of_an_unknown_order_is_found(ask, orders, reference):
    """If a callback has no payment, `show` and `close` find it by the order code that `list receipts` prints."""
    code = "2026112351382274"
    orders.callback("COMPLETED", "refused", "unknown_order", order_ref=code, reference=reference, amount=5)
    assert ask("list", "receipts")["items"][0]["order_ref"] == code
    shown = ask("show", code)
    assert (shown["exit_code"], shown["result"]["verdict"]["receipt_id"]) == (5, orders.receipts[0])
    closed = ask("close", code, "-y", "--reason", "refunded")
    assert (closed["exit_code"], closed["counts"]) == (0, {"closed": 1})
    assert ask("show", code)["exit_code"] == 0


def test_the_code_of_an_early_callback_finds_its_payment(ask, orders):
    """Given an early callback's order number, `show` finds the payment through a callback with the same reference."""
    orders.pay().callback("COMPLETED", "refused", "unknown_order", order_ref="2026", payment=None, number="1")
    orders.callback("COMPLETED", "refused", "wrong_amount", amount=5)
    assert ask("show", "2026")["result"]["order_code"] == orders.payment.order_code


@pytest.mark.parametrize("statement", [-2, -1])
def test_the_search_for_the_code_of_an_unknown_order_reads_no_other_receipt(statement, engine, orders):
    """The search for an unknown order's code reads only matching receipts, even if thousands have no payment."""
    orders.callback(order_ref="nobody").unclear("unreadable", order_ref="nothing")
    sql = history._BY_NAME[statement].replace("%(name)s", "'nobody'")  # noqa: SLF001 - the statement itself
    with engine.begin() as connection:
        connection.exec_driver_sql("""
            INSERT INTO payctl.webhook_receipts
            SELECT made.* FROM (SELECT to_jsonb(r) AS row FROM payctl.webhook_receipts AS r) AS two,
                generate_series(1, 5000) AS n, jsonb_populate_record(NULL::payctl.webhook_receipts,
                    row || jsonb_build_object('id', gen_random_uuid(), 'order_ref', 'stray ' || n)) AS made
        """)
        connection.exec_driver_sql("ANALYZE payctl.webhook_receipts")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}").scalars())
    assert re.search(r"webhook_receipts_order_ref.*\n +Index Cond: \(order_ref = 'nobody'::text\)", plan), plan


@pytest.mark.parametrize("command", [("show",), ("close", "-y", "--reason", "refunded")])
@pytest.mark.parametrize("write", [
    lambda o: o.callback("COMPLETED", "refused", "unknown_order", order_ref="9641D25"),
    lambda o: o.callback("COMPLETED", "refused", "unknown_order", order_ref="9641D25", reference="9641D25"),
    lambda o: o.unclear("unreadable", order_ref="9641D25"),
])  # fmt: skip
def test_the_code_of_an_unknown_order_hides_no_order_that_ends_in_it(write, command, ask, orders, engine):
    """If an order code ends with the code of a callback without a payment, `show` names both."""
    with engine.begin() as connection:
        insert_payment(connection, order_code="TB-X-9641D25")
    write(orders)
    document = ask(*command, "9641D25")
    error = document["error"]
    assert (document["exit_code"], error["message"]) == (
        2,
        "9641D25 is the code of a callback without a payment, and also the end of TB-X-9641D25 (PENDING, 250,000 VND)",
    )
    assert error["hint"] == (
        "give the whole order code or the callback's id: "
        f"`payctl show TB-X-9641D25` or `payctl show {orders.receipts[0]}`"
    )
    assert ask("show", orders.receipts[0])["result"]["verdict"]["receipt_id"] == orders.receipts[0]


@pytest.mark.parametrize(
    ("typed", "similar"),
    [
        ("TB-SUMMER-20261123-9E641D26", CODES[0]),
        ("TB-SUMER-20261123-9E641D25", CODES[0]),
        ("TB-SUMMMER-20261123-9E641D25", CODES[0]),
        ("TB-SUMMRE-20261123-9E641D25", CODES[0]),
        ("tb-smmer-20261123-11641d25", CODES[1]),
        ("TB-SUMMER-20261123-9E641D2", CODES[0]),
        ("TB-SUMER-20261123-9E641D26", None),
        ("TB-X-", "TB-X-1"),
        ("TB-X-11", "TB-X-1"),
        ("TB-Y-2", None),
        ("T" * 200, None),
    ],
)
def test_an_order_code_with_one_typing_error_is_answered_with_the_right_code(ask, typed, similar):
    """If one character is wrong, missing or added, or two are swapped, the hint contains the right order code."""
    document = ask("show", typed)
    assert document["exit_code"] == 8
    if similar:
        assert document["error"]["hint"] == f"a similar order code exists: `payctl show {similar}`"
    else:
        assert "similar" not in document["error"]["hint"]


def test_several_similar_order_codes_are_listed(ask, engine):
    """The hint lists at most three similar order codes, and nothing else about these orders."""
    with engine.begin() as connection:
        for number in range(2, 6):
            insert_payment(connection, order_code=f"TB-X-{number}")
    error = ask("show", "TB-X-9")["error"]
    assert error["hint"] == (
        "similar order codes exist: TB-X-1, TB-X-2, TB-X-3; give the right one, such as `payctl show TB-X-1`"
    )
    assert ask("close", "TB-X-9", "--reason", "x")["error"]["hint"] == error["hint"]


def test_the_search_for_similar_order_codes_uses_the_unique_index(engine):
    """On a large table, the search for similar order codes does not read the whole table."""
    with engine.begin() as connection:
        connection.exec_driver_sql("""
            INSERT INTO payments
            SELECT made.* FROM (SELECT to_jsonb(p) AS row FROM payments AS p LIMIT 1) AS one,
                generate_series(1, 40000) AS n, jsonb_populate_record(NULL::payments, row || jsonb_build_object(
                    'id', 'p' || n, 'orderCode', 'TB-MANY-20261123-' || n, 'idempotencyKey', 'k' || n,
                    'providerTransactionId', 'r' || n)) AS made
        """)
        connection.exec_driver_sql("ANALYZE payments")
        scans = "SELECT seq_scan, seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'payments'"
        before = connection.exec_driver_sql(scans).one()
        assert similar_codes(connection, "TB-MANY-20261123-3999X") == [
            "TB-MANY-20261123-3999", "TB-MANY-20261123-39990", "TB-MANY-20261123-39991"
        ]  # fmt: skip
        assert connection.exec_driver_sql(scans).one() == before


@pytest.mark.parametrize("typed", ["25", "%", "1D25x", "____", "%%%%", "tb-x-2"])
def test_too_few_or_wrong_last_characters_find_no_order(ask, typed):
    """`payctl show` needs at least the last four characters, and treats SQL wildcards as ordinary characters."""
    assert ask("show", typed)["exit_code"] == 8


@pytest.mark.parametrize(("typed", "said"), [
    ("D25", "; to search for the end of an order code, give at least 4 characters"), ("0D25", " or ends with it"),
])  # fmt: skip
def test_the_end_of_an_order_code_needs_four_characters(ask, typed, said):
    """The error says that no order code ends with the given characters, or how many characters a search needs."""
    begin = "no payment, event or callback has this id, and no order code equals it"
    assert ask("show", typed)["error"]["message"] == begin + said


@pytest.mark.parametrize("command", ["show", "close"])
def test_the_help_says_how_many_characters_of_an_order_code_are_needed(invoke, command):
    """The help of `payctl show` and `payctl close` says that four characters of an order code are needed."""
    assert "its last characters (at least four)" in " ".join(invoke(command, "--help").stdout.split())
    assert SHORTEST_ENDING == 4
