"""Test that ``payctl show`` finds an order by the last characters of its code."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres
CODES = ("TB-SUMMER-20261123-9E641D25", "TB-SUMMER-20261123-11641D25", "TB-WINTER-20261123-00_%A0B1", "TB-X-1")


@pytest.fixture(autouse=True)
def payments(engine):
    """Insert four orders. Two order codes end with the same characters."""
    with engine.begin() as connection:
        for code in CODES:
            insert_payment(connection, order_code=code)


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
    assert error["hint"] == f"give the whole code: payctl show {CODES[1]}"
    assert CODES[0] in invoke("show", "641d25", DATABASE_URL=database_url).stderr


@pytest.mark.parametrize("typed", ["25", "%", "1D25x", "____", "%%%%", "tb-x-2"])
def test_too_few_or_wrong_last_characters_find_no_order(ask, typed):
    """`payctl show` needs at least the last four characters, and treats SQL wildcards as ordinary characters."""
    assert ask("show", typed)["exit_code"] == 8
