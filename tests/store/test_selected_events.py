"""Test the events at the limits of a selector, and the events that are too large for payctl."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.store.outbox import replay
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.message_size import message_bytes
from ticketbottle_payctl.store.outbox.selector import Selector, WindowBy

pytestmark = pytest.mark.postgres
MILLISECOND, HOUR = timedelta(milliseconds=1), timedelta(hours=1)
E, EMPTY = "e1671797", "d41d8cd9"
"""The ids of the error groups for the error ``e`` and for no error."""
_AT = 'UPDATE outbox SET "createdAt" = %s, "publishedAt" = %s WHERE id = %s'
_REST = f"SELECT {message_bytes()} - octet_length(payload::text) FROM outbox"  # noqa: S608 - our own expression
_PAYLOAD = "UPDATE outbox SET payload = jsonb_build_object('p', repeat('x', %s - octet_length('{\"p\": \"\"}')))"


def listed(connection, selector):
    """Return the ids of the events that a listing shows for a selector, latest first."""
    return [each.row["id"] for each in list_events(connection, 9, None, selector=selector, max_retries=5)]


@pytest.fixture
def at(engine):
    """Return a function that inserts an event at each given time and returns the events' ids."""

    def run(*instants, **more):
        names = [f"event-{number}" for number in range(len(instants))]
        for name, instant in zip(names, instants, strict=True):
            Orders(engine).pay().event(id=name, **more)
            stored = instant.replace(tzinfo=None)
            with engine.begin() as connection:
                connection.exec_driver_sql(_AT, (stored, stored if "state" in more else None, name))
        return names

    return run


@pytest.mark.parametrize(("by", "more"), [(WindowBy.CREATED, {}), (WindowBy.PUBLISHED, {"state": "published"})])
def test_an_event_of_the_first_instant_of_a_window_is_in_it_and_one_of_the_last_is_not(reader, at, by, more):
    """A window includes events at its start but not at its end."""
    names = at(NOON - MILLISECOND, NOON, NOON + HOUR - MILLISECOND, NOON + HOUR, **more)
    assert listed(reader, Selector(since=NOON, until=NOON + HOUR, by=by)) == names[2:0:-1]


def test_an_event_is_stuck_from_the_given_age_on(at, at_noon):
    """A pending event is stuck as soon as it is as old as the given time."""
    names = at(NOON - HOUR - MILLISECOND, NOON - HOUR, NOON - HOUR + MILLISECOND)
    assert listed(at_noon, Selector(stuck=HOUR)) == names[1::-1]


def test_an_error_group_selects_only_events_that_have_failed(engine, reader):
    """An event that failed once is in its error group.

    An event that never failed is in no error group, even if an error is stored for it.
    """
    orders = Orders(engine).pay().event(retries=1, error="e").event(error="e").event(retries=1)
    assert listed(reader, Selector(error_group=E)) == orders.events[:1]
    assert listed(reader, Selector(error_group=EMPTY)) == orders.events[2:]


@pytest.mark.parametrize(
    ("size", "error", "too_large"),
    [
        (LARGEST_MESSAGE, "MSG_SIZE_TOO_LARGE: no", False),
        (LARGEST_MESSAGE + 1, "MSG_SIZE_TOO_LARGE: no", True),
        (LARGEST_MESSAGE + 1, "NO: MSG_SIZE_TOO_LARGE", False),
        (LARGEST_MESSAGE + 1, None, False),
    ],
)
def test_an_event_is_too_large_if_it_failed_because_of_its_size(engine, size, error, too_large):
    """An event is too large if Kafka refused its size and its message is larger than payctl's limit."""
    Orders(engine).pay().event(retries=5, error=error)
    with engine.begin() as connection:
        rest = connection.exec_driver_sql(_REST).scalar()
        connection.exec_driver_sql(_PAYLOAD, (size - rest,))
        (found,) = replay.candidates(connection, Selector(), 5)
    assert found.too_large is too_large
