"""Test the half-marked events that a repair changes, and the place where its next batch begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.store.outbox import half_marked

pytestmark = pytest.mark.postgres
MINUTE = timedelta(minutes=1)
RUN = str(UUID(int=1))
WRITE = 'UPDATE outbox SET published = %s, "createdAt" = %s, "publishedAt" = %s WHERE id = %s'


def test_the_next_batch_begins_behind_the_newest_event_of_a_batch(engine):
    """A batch has the oldest events that were sent until a given time. The next batch begins after its newest event."""
    at = NOON.replace(tzinfo=None)
    with engine.connect() as connection:
        for name, minutes, sent, published in (
            ("d", 1, 5, False),
            ("c", 2, 9, False),
            ("b", 3, 10, False),
            ("a", 4, 9, False),
            ("published", 2, 5, True),
            ("pending", 2, None, False),
            ("0", 5, 9, False),
        ):
            Orders(engine).event(id=name)
            instant = None if sent is None else at + sent * MINUTE
            connection.exec_driver_sql(WRITE, (published, at + minutes * MINUTE, instant, name))
        connection.commit()
        until = NOON + 9 * MINUTE
        first = half_marked.repair(connection, RUN, 0, 2, until, None)
        second = half_marked.repair(connection, RUN, 1, 2, until, first.after)
        third = half_marked.repair(connection, RUN, 2, 2, until, second.after)
        assert (first, second) == ((2, (at + 2 * MINUTE, "c")), (2, (at + 5 * MINUTE, "0")))
        assert third == (0, second.after)
        items = connection.exec_driver_sql("SELECT chunk, place, item_id FROM payctl.run_items ORDER BY 1, 2").all()
        assert items == [(0, 0, "d"), (0, 1, "c"), (1, 0, "a"), (1, 1, "0")]
        states = connection.exec_driver_sql("SELECT DISTINCT before, after FROM payctl.run_items").all()
        assert states == [({"published": False}, {"published": True})]
        assert half_marked.count(connection).events == 1


def test_a_repair_leaves_locked_events_for_later(engine):
    """A repair does not wait for an event that another session has locked, and changes the later events."""
    names = Orders(engine).event(state="published", age=2 * MINUTE).event(state="published", age=MINUTE).events
    with engine.connect() as connection, engine.connect() as other:
        connection.exec_driver_sql("UPDATE outbox SET published = false")
        connection.commit()
        other.exec_driver_sql("SELECT id FROM outbox WHERE id = %s FOR UPDATE", (names[0],))
        connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        repaired = half_marked.repair(connection, RUN, 0, 2, datetime.now(UTC), None)
        assert (repaired.events, repaired.after[1]) == (1, names[1])
        assert half_marked.count(connection).events == 1
