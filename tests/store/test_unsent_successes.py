"""Test the number of customers that wait for dead events, and the number of dead events of unknown types."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
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
        assert unsent_successes(connection, 5, [*twice.events, *once.events])[::2] == (0, 2)
