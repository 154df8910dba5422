"""Test the SQL that computes an event's state."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.store.outbox import states

MAX_RETRIES = 5
ROW = """SELECT {columns} FROM (VALUES (%(published)s::bool, %(at)s::timestamp, %(tried)s::int))
    AS o (published, "publishedAt", "retryCount")"""
TABLE = [
    (False, None, 0, "pending"),
    (False, None, 4, "pending"),
    (False, None, 5, "dead"),
    (False, None, 9, "dead"),
    (False, "2026-11-22", 0, "published"),
    (False, "2026-11-22", 9, "published"),
    (True, None, 0, "published"),
    (True, None, 9, "published"),
    (True, "2026-11-22", 0, "published"),
    (True, "2026-11-22", 9, "published"),
]


@pytest.mark.parametrize(("published", "at", "tried", "state"), TABLE)
def test_every_row_is_in_exactly_one_state(engine, published, at, tried, state):
    """An outbox row is either pending, dead or published. SQL and Python compute the same state."""
    columns = ", ".join([states.pending("o."), states.dead("o."), states.published("o."), states.name("o.")])
    parameters = {"published": published, "at": at, "tried": tried, "max_retries": MAX_RETRIES}
    with engine.connect() as connection:
        pending, dead, sent, name = connection.exec_driver_sql(ROW.format(columns=columns), parameters).one()
    assert {"pending": pending, "dead": dead, "published": sent} == {
        each: each == state for each in ("pending", "dead", "published")
    }
    assert name == state


@pytest.mark.parametrize(("published", "at", "tried", "state"), TABLE)
def test_a_half_marked_row_counts_as_published(engine, published, at, tried, state):
    """An outbox row with ``publishedAt`` but without ``published`` counts as published.

    The old service left such rows.
    """
    parameters = {"published": published, "at": at, "tried": tried}
    with engine.connect() as connection:
        half = connection.exec_driver_sql(ROW.format(columns=states.half_marked("o.")), parameters).scalar_one()
    assert half is (not published and at is not None)
    assert not half or state == "published"
