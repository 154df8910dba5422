"""Test the number of customers that wait for dead events, and the number of dead events of unknown types."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.outbox.paid_orders import behind_dead
from ticketbottle_payctl.store.outbox.unsent_successes import UnsentSuccess, unsent_successes

pytestmark = pytest.mark.postgres
MINUTE = timedelta(minutes=1)


def test_the_customers_of_dead_successes_are_counted_once(engine):
    """A customer with two dead events counts once, even if one event is left out.

    Unknown types are counted separately.
    """
    twice, once = Orders(engine).pay("COMPLETED"), Orders(engine).pay("COMPLETED")
    twice.event(retries=5, age=9 * MINUTE).event(retries=5, age=8 * MINUTE)
    once.event(retries=5, age=7 * MINUTE).event("?", retries=5).event("?", retries=5).event("FAILED", retries=5)
    Orders(engine).pay("COMPLETED").event("?").event("?", "published", retries=5)
    with engine.connect() as connection:
        found = unsent_successes(connection, 5, [twice.events[1], once.events[2]])
        assert (found.events, found.customers, found.unknown) == (2, 2, 2)
        assert list(found.oldest) == [
            UnsentSuccess(twice.events[0], twice.payment.order_code),
            UnsentSuccess(once.events[0], once.payment.order_code),
        ]
        rest = unsent_successes(connection, 5, [*twice.events, *once.events])
        assert (rest.events, rest.customers, rest.behind) == (0, 2, 0)


@pytest.mark.parametrize(
    ("events", "blocking", "released", "behind"),
    [
        ([("FAILED", 5), ("COMPLETED", 0)], 1, 0, 1),
        ([("COMPLETED", 5), ("COMPLETED", 0)], 1, 1, 0),
        ([("FAILED", 5), ("COMPLETED", 5)], 1, 1, 0),
        ([("FAILED", 5), ("COMPLETED", 0), ("COMPLETED", 0)], 1, 0, 1),
        ([("COMPLETED", 0), ("FAILED", 5)], 0, 0, 0),
        ([("FAILED", 5), ("CANCELLED", 0)], 0, 0, 0),
        ([("FAILED", 4), ("COMPLETED", 0)], 0, 0, 0),
        ([("?", 5), ("COMPLETED", 0)], 1, 0, 1),
    ],
)
def test_a_customer_whose_success_waits_behind_a_dead_event_is_counted(engine, events, blocking, released, behind):
    """A customer waits if the success event is pending behind a dead event, unless publishers release it."""
    order, other = Orders(engine).pay("COMPLETED"), Orders(engine).pay("COMPLETED")
    for number, (kind, retries) in enumerate(events):
        order.event(kind, retries=retries, age=(9 - number) * MINUTE)
    other.event("COMPLETED")
    with engine.connect() as connection:
        found = [unsent_successes(connection, 5, [], dead_blocks=blocks) for blocks in (True, False)]
        assert [(each.customers, each.behind) for each in found] == [(blocking, behind), (released, 0)]
        assert behind_dead(connection, 5, by_debezium=False).paid_orders.number == blocking
