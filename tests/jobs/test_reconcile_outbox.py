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
    """Compare one event, published a while ago, with topics that hold nothing."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(minutes=30))
    now = datetime.now(UTC)

    def run(**window):
        empty = Window((), 0, **{"partitions": PARTITIONS, "known_from": {}, "complete": True, **window})
        report = compare_outbox(engine, lambda *_: empty, since=now - timedelta(hours=1), until=now)
        return len(report.disagreements), report.unjudged

    return run


def known(ago):
    """Every partition was cut off by retention then."""
    at = datetime.now(UTC) - ago
    return {(topic, number): at for topic in PARTITIONS for number in range(3)}


def test_what_is_not_there_is_lost(compare):
    """Read to its end, not cut off: it should lie there."""
    assert compare() == (1, 0)


def test_what_retention_may_have_taken_is_not_called_lost(compare):
    """Sent before the oldest record that is left, or too close to it to tell by two clocks."""
    assert compare(known_from=known(timedelta(minutes=10))) == (0, 1)
    assert compare(known_from=known(timedelta(minutes=30) + SLACK / 2)) == (0, 1)
    assert compare(known_from=known(timedelta(minutes=31) + SLACK)) == (1, 0)


def test_what_was_not_read_to_its_end_calls_nothing_lost(compare):
    """It may lie behind where the time was up."""
    assert compare(complete=False) == (0, 1)


def test_a_topic_that_is_not_there_holds_nothing(compare):
    """Then what was published to it is lost."""
    assert compare(partitions=dict.fromkeys(PARTITIONS, 0)) == (1, 0)
