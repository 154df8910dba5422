"""Test that recorded replays show when an event was requeued, and whether it had been sent before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.store.conftest import NOON
from ticketbottle_payctl.store.outbox.republished import requeued_before_s, was_sent_before

pytestmark = pytest.mark.postgres
SECOND, HALF_A_SECOND = timedelta(seconds=1), timedelta(milliseconds=500)
SENT, UNSENT = '{"published_at": "2026-11-29T11:00:00"}', '{"published_at": null}'


@pytest.fixture
def record(engine):
    """Return a function that records a replay's outcome for the event "asked" or another event, ``after`` noon."""
    sql = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, at)
        VALUES (gen_random_uuid(), 0, 0, %s, %s, %s, %s)"""

    def run(after, outcome="requeued", *, before=UNSENT, event="asked"):
        with engine.begin() as connection:
            connection.exec_driver_sql(sql, (event, outcome, before, NOON + after))

    return run


@pytest.mark.parametrize(
    ("instants", "seconds"),
    [
        ([], None),
        ([-HALF_A_SECOND], 0.5),
        ([0 * SECOND], 0),
        ([SECOND], 0),
        ([-9 * SECOND, -5 * SECOND, -7 * SECOND], 5),
    ],
    ids=["never", "half a second ago", "now", "by a fast clock", "three times"],
)
def test_an_event_was_requeued_by_its_last_replay(record, at_noon, instants, seconds):
    """The age of an event's last replay counts, and is never negative. Skipped events and other events do not count."""
    for after in instants:
        record(after)
    record(-3 * SECOND, "skipped")
    record(-3 * SECOND, event="other")
    assert at_noon.exec_driver_sql(f"SELECT {requeued_before_s('SELECT %s')}", ("asked",)).scalar_one() == seconds


@pytest.mark.parametrize(
    ("outcome", "before", "expected"), [("requeued", SENT, True), ("requeued", UNSENT, False), ("skipped", SENT, False)]
)
def test_an_event_was_sent_before_if_a_replay_requeued_it_as_published(record, at_noon, outcome, before, expected):
    """If one or more replays requeued a published event, the event had already been sent."""
    record(0 * SECOND)
    for after in (-SECOND, 0 * SECOND):
        record(after, outcome, before=before)
    record(0 * SECOND, before=SENT, event="other")
    assert at_noon.exec_driver_sql(f"SELECT {was_sent_before('%s')}", ("asked",)).scalar_one() is expected
