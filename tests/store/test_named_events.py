"""Test the facts about an event that a person wants to close, and the lock on this event."""

from __future__ import annotations

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.outbox import dead

pytestmark = pytest.mark.postgres


def test_only_a_dead_event_is_named_as_superseded(pay, reader):
    """A failure event of a COMPLETED payment is not superseded if it is pending or sent."""
    orders = pay("COMPLETED").event("FAILED", retries=4).event("FAILED", state="published", retries=5)
    assert [dead.find(reader, name, 5).why_needless for name in orders.events] == [None, None]


def test_an_event_without_a_payment_is_named(engine, reader):
    """An event whose payment is missing is found, but has no order code."""
    (name,) = Orders(engine).event("FAILED", retries=5, error="no").events
    found = dead.find(reader, name, 5)
    assert (found.id, found.payment_id, found.order_code, found.why_needless) == (name, "gone", None, None)


def test_only_the_named_event_is_locked(pay, engine, reader):
    """An event stays locked until the transaction ends. Other events are not locked."""
    first, second = pay("COMPLETED").event().event().events
    unlocked = "SELECT id FROM outbox FOR UPDATE SKIP LOCKED"
    with engine.connect() as other:
        dead.lock(reader, first)
        assert list(other.exec_driver_sql(unlocked).scalars()) == [second]
        reader.rollback()
        assert {*other.exec_driver_sql(unlocked).scalars()} == {first, second}
