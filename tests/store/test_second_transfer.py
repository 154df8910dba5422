"""Test that payctl recognises the first receipt of a second transfer of money for a payment."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.callback import Callback, Outcome, Request
from ticketbottle_payctl.store.payctl import receipts
from ticketbottle_payctl.store.payctl.receipts import Receipt, StoredRequest

pytestmark = pytest.mark.postgres
REQUEST = Request("POST", "/webhook/momo", "", b"a body")
NEW = str(UUID(int=1))


@pytest.fixture
def second(engine):
    """Return a function that stores a callback with the number 2 and returns whether it is a second transfer."""

    def run(orders, outcome=Outcome.COMPLETED):
        callback = Callback("momo", outcome, "r", "TB-1", "2", 320_000, payment_number="2")
        receipt = Receipt(NEW, callback, REQUEST, "already_settled", payment_id=orders.payment.id)
        with engine.begin() as connection:
            return receipts.store(connection, receipt)

    return run


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ([], False),
        ([{"number": "1"}], True),
        ([{"number": "2"}], False),
        ([{"number": "1"}, {"number": "2"}], False),
        ([{"number": "1"}, {"number": "3"}], True),
        ([{"number": None}], False),
        ([{"number": "1"}, {"number": None}], True),
        ([{"number": "1", "result": "already_settled"}], True),
        ([{"number": "1", "result": "refused"}], False),
        ([{"number": "1", "outcome": "FAILED"}], False),
        ([{"number": "1", "payment": "another"}], False),
    ],
)
def test_a_success_with_a_new_number_is_a_second_transfer(engine, second, earlier, expected):
    """A success is a second transfer if its number is new and an accepted success of its payment has a number."""
    orders = Orders(engine).pay("COMPLETED")
    for each in earlier:
        orders.callback(**each)
    assert second(orders) is expected


def test_a_failure_is_no_second_transfer(engine, second):
    """A callback that reports a failure is not a second transfer."""
    assert second(Orders(engine).pay("COMPLETED").callback(number="1"), Outcome.FAILED) is False


def test_the_request_of_a_receipt_is_found_by_its_id(engine, second):
    """`find_request` returns the request in the receipt with the given id, or None if the receipt does not exist."""
    second(Orders(engine).pay("COMPLETED").callback())
    with engine.connect() as connection:
        assert receipts.find_request(connection, NEW) == StoredRequest(NEW, "momo", REQUEST)
        assert receipts.find_request(connection, str(UUID(int=2))) is None
