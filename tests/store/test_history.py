"""Test the search for a payment by one of its names, and the payment's callbacks and events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.payments.history import event_named, find, orders_ending_in
from ticketbottle_payctl.store.payments.receipt_rows import receipts_of, receipts_of_payments

pytestmark = pytest.mark.postgres
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
STRAY = {"payment": None, "reference": "a reference", "order_ref": "an order"}
UNREADABLE = {"payment": None, "reference": "", "order_ref": "an order", "body": b"x"}


@pytest.fixture
def pay(engine):
    """Return a function that inserts a payment and returns a writer of its rows."""
    return lambda **more: Orders(engine).pay(**more)


@pytest.fixture
def paid_by(engine):
    """Return a function that returns the id of the payment that a name finds, or None."""

    def run(name):
        with engine.connect() as connection:
            found = find(connection, name, 5)
        return found and found.payment and found.payment.id

    return run


def test_a_payment_is_found_by_each_of_its_names(pay, paid_by):
    """A payment is found by its id, order code or reference, and by the id of its event or its callback."""
    orders = [pay().event().callback(payment=None), pay().event().callback()]
    for each in orders:
        payment = each.payment
        for name in (payment.id, payment.order_code, payment.reference, each.events[0]):
            assert paid_by(name) == payment.id
    assert paid_by(orders[1].receipts[0]) == orders[1].payment.id
    assert paid_by("another") is None


@pytest.mark.parametrize(
    ("later", "belongs"),
    [
        ({}, True),
        ({"age": HOUR}, False),
        ({"body": b"y"}, False),
        ({"provider": "vnpay"}, False),
        ({"payment": None}, False),
    ],
)
def test_an_unreadable_callback_belongs_to_the_payment_of_its_later_copy(pay, paid_by, later, belongs):
    """A callback without a reference belongs to the payment of a later copy from the same gateway."""
    orders = pay().callback(**UNREADABLE, age=10 * MINUTE)
    for _ in range(2):
        orders.callback(**{"order_ref": "another", "body": b"x", "age": MINUTE, **later})
    assert paid_by(orders.receipts[0]) == (orders.payment.id if belongs else None)


def test_a_copy_of_the_same_instant_is_not_later(pay, paid_by, execute):
    """A callback without a reference does not belong to the payment of a copy that arrived at the same time."""
    orders = pay().callback(**UNREADABLE).callback(order_ref="another", body=b"x")
    execute("UPDATE payctl.webhook_receipts SET received_at = '2026-11-29 12:00Z'")
    assert paid_by(orders.receipts[0]) is None


@pytest.mark.parametrize("changes", [{}, {"provider": "vnpay"}, {"reference": "another"}, {"payment": None}])
@pytest.mark.parametrize("name", ["receipt", "an order"])
def test_a_callback_without_a_payment_belongs_to_the_payment_of_its_reference(pay, paid_by, changes, name):
    """A callback without a payment belongs to the payment whose callback has the same reference and gateway."""
    orders = pay().callback(**STRAY, body=b"x")
    for _ in range(2):
        orders.callback(**{"reference": "a reference", "order_ref": "another", "body": b"x", **changes})
    asked = orders.receipts[0] if name == "receipt" else name
    assert paid_by(asked) == (None if changes else orders.payment.id)


@pytest.mark.parametrize("reference", ["a reference", ""])
def test_a_callback_without_a_payment_belongs_to_the_payment_of_its_order_code(pay, paid_by, reference):
    """A callback without a payment belongs to the payment whose order code it names."""
    orders, _ = pay().callback(payment=None, reference=reference), pay()
    assert paid_by(orders.receipts[0]) == orders.payment.id
    assert paid_by("a reference") == (orders.payment.id if reference else None)


def test_a_reference_finds_the_callback_that_has_a_payment(engine, pay, paid_by):
    """If several receipts have the same reference, the receipt with a payment is found, even if it is not the first."""
    orders = pay()
    for payment, age in ((None, 3 * HOUR), (orders.payment.id, 2 * HOUR), (None, HOUR)):
        orders.callback(payment=payment, reference="a reference", order_ref="an order", age=age)
    pay().callback(reference="another", order_ref="another", payment=None)
    assert paid_by("a reference") == orders.payment.id
    with engine.connect() as connection:
        assert find(connection, "another", 5).payment is None


def test_of_two_payments_with_one_reference_the_same_one_is_always_found(pay, paid_by):
    """If receipts of two payments have the same reference, the payment with the lowest id is found."""
    for name in ("b", "a", "c"):
        pay(id=name).callback(reference="a reference", order_ref="an order")
    assert paid_by("a reference") == "a"


def test_an_order_without_a_payment_is_found_by_its_name(engine):
    """The code of an order without a payment finds only the order's callbacks, with or without a reference."""
    known = Orders(engine).callback(**STRAY, age=HOUR).callback(**STRAY, age=MINUTE)
    unreadable = (
        Orders(engine)
        .callback(**{**UNREADABLE, "order_ref": "unreadable"})
        .callback(**{**UNREADABLE, "order_ref": "another"}, age=HOUR)
    )
    with engine.connect() as connection:
        found = [find(connection, name, 5) for name in ("an order", "unreadable")]
        assert find(connection, "nothing", 5) is None
    assert [[each.id for each in one.receipts] for one in found] == [known.receipts, unreadable.receipts[:1]]
    assert [one.subject for one in found] == ["an order", "unreadable"]


def test_the_latest_callback_of_an_order_without_a_payment_is_found(engine):
    """If callbacks for an order without a payment have different references, the latest reference is found."""
    orders = Orders(engine)
    for reference, age in (("2", 2), ("1", 1), ("3", 3)):
        orders.callback(**{**STRAY, "reference": reference}, age=age * HOUR)
    with engine.connect() as connection:
        found = find(connection, "an order", 5)
    assert [each.id for each in found.receipts] == orders.receipts[1:2]


def test_an_event_of_the_instant_a_day_before_its_payment_is_read(engine, pay, execute):
    """A payment has the pending and published events that were created at most a day before it."""
    orders = pay()
    for name in ("event-a", "event-b", "event-c"):
        orders.event(id=name, state="published" if name == "event-b" else "pending")
    execute("""
        UPDATE outbox AS o SET "createdAt" = p."createdAt" - interval '1 day'
            - CASE WHEN o.id = 'event-c' THEN interval '1 millisecond' ELSE interval '0' END FROM payments AS p
    """)
    with engine.connect() as connection:
        found = find(connection, orders.payment.id, 5)
    assert [(each.id, each.state) for each in found.events] == [("event-a", "pending"), ("event-b", "published")]


def test_only_events_of_a_payment_since_a_day_before_it_are_read(engine, pay):
    """A payment has its own events in order, except events that are more than a day older than the payment."""
    orders = pay(age=HOUR).event("FAILED", age=24 * HOUR).event(age=2 * MINUTE).event(age=26 * HOUR)
    pay().event()
    with engine.connect() as connection:
        found = find(connection, orders.payment.id, 5)
    assert [each.id for each in found.events] == orders.events[:2]


def test_events_of_one_instant_are_sorted_by_their_id(engine, pay, execute):
    """Events of a payment that were created at the same time are sorted by their id."""
    orders = pay(age=HOUR)
    for name in ("event-b", "event-a", "event-c"):
        orders.event(id=name, age=MINUTE)
    orders.event(id="event-0", age=0 * MINUTE)
    execute("""UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox) WHERE id <> 'event-0'""")
    with engine.connect() as connection:
        found = find(connection, orders.payment.id, 5)
    assert [each.id for each in found.events] == ["event-a", "event-b", "event-c", "event-0"]


def test_only_an_event_is_found_as_an_event(engine, pay):
    """The id of an event names an event, but the id of a payment does not."""
    orders = pay().event()
    with engine.connect() as connection:
        assert event_named(connection, orders.events[0]) == orders.events[0]
        assert event_named(connection, orders.payment.id) is None


def test_orders_with_an_ending_are_sorted_by_their_age(engine, pay):
    """Among the orders whose codes end with given characters, the latest comes first.

    A whole code finds only its order.
    """
    for code, age in (("TB-1-WXYZ", 2), ("TB-2-WXYZ", 1), ("WXYZ", 3), ("TB-2-WXY", 0)):
        pay(order_code=code, age=age * HOUR)
    with engine.connect() as connection:
        assert [each.order_code for each in orders_ending_in(connection, "-wxyz")] == ["TB-2-WXYZ", "TB-1-WXYZ"]
        assert [each.order_code for each in orders_ending_in(connection, "WXYZ")] == ["WXYZ"]


def of_payment(engine, orders, *asked):
    """Return the ids of the receipts of a payment."""
    with engine.connect() as connection:
        found = receipts_of_payments(connection, {orders.payment.id: [*asked]})[orders.payment.id]
    return [each.id for each in found]


@pytest.mark.parametrize(
    ("changes", "belongs"),
    [
        ({}, True),
        ({"provider": "vnpay"}, False),
        ({"reference": "another"}, False),
        ({"payment": "of another"}, False),
        ({"payment": "unknown"}, True),
    ],
)
def test_a_receipt_with_the_reference_of_a_payment_s_receipt_belongs_to_it(engine, pay, changes, belongs):
    """A receipt belongs to a payment if its gateway sent another callback with the same reference for this payment."""
    orders = pay().callback(reference="a reference", age=HOUR)
    pay()
    if changes.get("payment") == "of another":
        changes = {"payment": Orders(engine).pay().payment.id}
    orders.callback(**{**STRAY, **changes})
    assert of_payment(engine, orders) == orders.receipts[: 2 if belongs else 1]


@pytest.mark.parametrize("name", ["reference", "order_code"])
@pytest.mark.parametrize("provider", ["momo", "vnpay"])
def test_a_receipt_that_names_the_payment_by_its_reference_belongs_to_it(engine, pay, name, provider):
    """If a receipt's reference is a payment's reference or order code, the receipt belongs to this payment.

    The receipt can be from any gateway.
    """
    orders = pay()
    orders.callback(**{**STRAY, "reference": getattr(orders.payment, name)}, provider=provider)
    assert of_payment(engine, orders) == orders.receipts


@pytest.mark.parametrize(
    ("changes", "belongs"),
    [({}, True), ({"provider": "vnpay"}, False), ({"body": b"y"}, False), ({"reference": "a reference"}, False)],
)
def test_an_unreadable_receipt_with_the_same_bytes_belongs_to_the_payment(engine, pay, changes, belongs):
    """A receipt without a reference belongs to a payment if the same gateway sent the same bytes for this payment."""
    orders = pay().callback(body=b"x", age=HOUR, order_ref="another")
    orders.callback(**{**UNREADABLE, **changes})
    assert of_payment(engine, orders) == orders.receipts[: 2 if belongs else 1]


def test_an_unreadable_receipt_that_names_the_order_belongs_to_the_payment(engine, pay):
    """A receipt without a reference belongs to the payment whose order code it names."""
    orders = pay()
    orders.callback(**{**UNREADABLE, "order_ref": orders.payment.order_code}).callback(**UNREADABLE)
    assert of_payment(engine, orders) == orders.receipts[:1]


def test_receipts_that_are_asked_for_belong_to_the_payment(engine, pay):
    """If the caller names a receipt, this receipt and all receipts with the same reference belong to the payment."""
    orders = pay().callback(age=3 * HOUR)
    orders.callback(**STRAY, age=HOUR).callback(**STRAY, age=2 * HOUR)
    Orders(engine).callback()
    first, second, third = orders.receipts
    assert of_payment(engine, orders) == [first]
    assert of_payment(engine, orders, second) == [first, third, second]


def receipts(engine, *names):
    """Return the ids of the receipts that :func:`receipts_of` finds."""
    with engine.connect() as connection:
        return [each.id for each in receipts_of(connection, *names)]


def test_receipts_without_a_payment_are_found_by_one_of_their_names(engine):
    """Receipts are found by their payment, their reference, their id, or the order that an unreadable receipt names."""
    orders = Orders(engine)
    orders.callback(payment="gone", reference="1", order_ref="1", age=5 * HOUR)
    orders.callback(payment=None, reference="2", order_ref="2", age=4 * HOUR)
    orders.callback(payment=None, reference="", order_ref="3", age=3 * HOUR)
    orders.callback(payment=None, reference="", order_ref="", age=2 * HOUR)
    one, two, three, four = orders.receipts
    assert receipts(engine, "gone", None, None) == [one]
    assert receipts(engine, None, "2", "2") == [two]
    assert receipts(engine, None, "", "3") == [three]
    assert receipts(engine, None, "", "", four) == [four]
    assert receipts(engine, "gone", "2", "3", four) == orders.receipts
    assert receipts(engine, None, "", "") == []


@pytest.mark.parametrize(
    ("changes", "together"),
    [({}, True), ({"body": b"y"}, False), ({"reference": "1"}, False), ({"order_ref": "1"}, False)],
)
def test_a_callback_without_any_name_is_returned_with_its_copies(engine, changes, together):
    """For a callback that has neither a reference nor an order code, only the callback and its copies are returned."""
    orders = Orders(engine)
    for more in (changes, {}):
        orders.callback(
            "UNCLEAR", payment=None, number=None, **{"reference": "", "order_ref": "", "body": b"x", **more}
        )
    assert receipts(engine, None, None, None, orders.receipts[1]) == orders.receipts[0 if together else 1 :]
    assert receipts(engine, None, None, None, orders.receipts[0]) == orders.receipts[: 2 if together else 1]
