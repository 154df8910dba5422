"""Fixtures for tests that close a dead event."""

from __future__ import annotations

from datetime import timedelta

import pytest

HOUR = timedelta(hours=1)
WHY = "the customer has the tickets"


@pytest.fixture
def dead(orders):
    """Insert a paid order with a dead failure event, and return the event's id."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
    orders.event(state="published")
    return orders.events[0]


@pytest.fixture
def doctor(ask):
    """Return a function that returns the first fact of `payctl doctor --only backlog`."""
    return lambda: ask("doctor", "--only", "backlog")["items"][0]


@pytest.fixture
def close(ask):
    """Return a function that runs `payctl close` and returns the document."""
    return lambda name, *options: ask("close", name, "-y", "--reason", WHY, *options, PAYCTL_ACTOR="Lan")
