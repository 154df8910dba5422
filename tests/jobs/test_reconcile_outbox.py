from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.broker.window import Window
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.jobs.reconcile.compare_outbox import SLACK, compare_outbox
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres

PARTITIONS = dict.fromkeys(TOPICS.values(), 3)


@pytest.fixture
def compare(engine):
    """Return a function that compares one published event with topics that have no record."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(minutes=30))
    now = datetime.now(UTC)

    def run(**window):
        empty = Window((), 0, **{"partitions": PARTITIONS, "known_from": {}, "complete": True, **window})
        report = compare_outbox(engine, lambda *_: empty, since=now - timedelta(hours=1), until=now)
        return len(report.disagreements), report.unjudged

    return run


def known(ago):
    """Return the same retention limit, this long ago, for every partition."""
    at = datetime.now(UTC) - ago
    return {(topic, number): at for topic in PARTITIONS for number in range(3)}


def test_what_is_not_there_is_lost(compare):
    """A published event without a record is lost if the topics were read to the end."""
    assert compare() == (1, 0)


def test_what_retention_may_have_taken_is_not_called_lost(compare):
    """An event that was sent before or shortly after the oldest record is not judged."""
    assert compare(known_from=known(timedelta(minutes=10))) == (0, 1)
    assert compare(known_from=known(timedelta(minutes=30) + SLACK / 2)) == (0, 1)
    assert compare(known_from=known(timedelta(minutes=31) + SLACK)) == (1, 0)


def test_what_was_not_read_to_its_end_calls_nothing_lost(compare):
    """If the time limit ended the reading, a missing event is not judged."""
    assert compare(complete=False) == (0, 1)


def test_a_topic_that_is_not_there_holds_nothing(compare):
    """An event that was published to a missing topic is lost."""
    assert compare(partitions=dict.fromkeys(PARTITIONS, 0)) == (1, 0)
