"""Test that the database computes the size of an event's message in the same way as Python."""

from __future__ import annotations

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.event import OutboxEvent, to_message
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE, message_bytes
from ticketbottle_payctl.store.outbox import message_size
from ticketbottle_payctl.store.outbox.selector import TOO_LARGE

pytestmark = pytest.mark.postgres
LONGEST = ("c" * 128, "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "3f2b8c1e-9a4d-4e6f-8b7a-1c2d3e4f5a6b")
ROW = """SELECT id, "aggregateId", "aggregateType", "eventType", payload::text, "createdAt", "retryCount" FROM outbox"""
ERROR = "MSG_SIZE_TOO_LARGE: Broker: Message size too large"


@pytest.mark.parametrize("length", [1, 63, 64, 8191, 8192])
def test_the_database_counts_a_message_with_its_longest_headers(engine, length):
    """The size in the database is the size of the event's message with the longest correlation id, and a trace."""
    Orders(engine).pay().event(id="đ" + "i" * (length - 2) if length > 1 else "i", size=5_000)
    sql = f"SELECT {message_size.message_bytes('o.')} FROM outbox AS o"  # noqa: S608 - built from constants only
    with engine.connect() as connection:
        event = OutboxEvent(*connection.exec_driver_sql(ROW).one())
        found = connection.exec_driver_sql(sql).scalar_one()
    assert len(event.id.encode()) == length
    assert found == message_bytes(to_message(event._replace(context=LONGEST)))


@pytest.mark.parametrize(
    ("more", "error", "expected"),
    [(0, ERROR, False), (1, ERROR, True), (1, "TIMED_OUT: x", False), (1, None, False), (-2_000, ERROR, False)],
)
def test_an_event_is_too_large_if_its_message_is_larger_than_the_client_sends(engine, more, error, expected):
    """A refused event is too large if its message is larger than a million bytes."""
    orders = Orders(engine).pay()
    orders.event(state="dead", error=error)
    size = f"SELECT {message_size.message_bytes('o.')} FROM outbox AS o"  # noqa: S608 - built from constants only
    grow = """UPDATE outbox SET payload = payload || jsonb_build_object('padding', repeat('x', %(size)s))"""
    judge = f"SELECT {TOO_LARGE} FROM outbox AS o"  # noqa: S608 - built from constants only
    with engine.begin() as connection:
        empty = connection.exec_driver_sql(size).scalar_one()
        connection.exec_driver_sql(grow, {"size": LARGEST_MESSAGE - empty + more})
        assert connection.exec_driver_sql(size).scalar_one() == LARGEST_MESSAGE + more
        assert connection.exec_driver_sql(judge).scalar_one() is expected
        payload = connection.exec_driver_sql("SELECT octet_length(payload::text) FROM outbox").scalar_one()
    assert 999_000 + more < payload
