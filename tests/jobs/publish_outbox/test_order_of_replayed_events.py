"""Test that replayed events keep their order and identity, and that publishers notice replays that affect the order."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, Clockwork
from ticketbottle_payctl.jobs.replay import ReplayOptions, plan_replay, replay
from ticketbottle_payctl.store.inspect.publishers import seen
from ticketbottle_payctl.store.outbox.replay import CHUNK
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun


def requeue(outbox, *ids):
    """Requeue published events, as ``payctl replay --published --allow-published`` does."""
    plan = plan_replay(outbox.engine, Selector(ids=ids), max_retries=5, allow_published=True)
    run = NewRun(str(uuid4()), "replay", Actor("ops", "bastion", "Linh"), reason="a test", options={})
    replay(outbox.engine, plan, run, ReplayOptions(allow_published=True), max_retries=5)


def test_a_replayed_failure_is_not_sent_behind_the_success_that_follows(outbox):
    """If a customer pays after a failure event was replayed, the publisher still sends the failure event first."""
    failed = outbox.add("k", FAILED, age=20)

    def late_money():
        requeue(outbox, failed)
        outbox.add("k", COMPLETED)

    outbox.run(Clockwork(waits=120, at={3: late_money}), loop=True)
    sent = [message.topic for message in sorted(outbox.messages(), key=lambda one: one.timestamp)]
    assert sent == ["payment.failed", "payment.failed", "payment.completed"]


def test_a_replayed_dead_event_goes_before_the_events_that_it_blocked(outbox):
    """If an operator replays a dead event, the publisher sends it before the events that waited behind it."""
    ids = [
        outbox.add("k", FAILED, age=30, retry_count=5),
        outbox.add("k", COMPLETED, age=20),
        outbox.add("k", COMPLETED, age=10),
    ]
    outbox.publish()
    outbox.execute('UPDATE outbox SET "retryCount" = 0 WHERE id = %(id)s', id=ids[0])
    outbox.publish()
    assert (outbox.sent(), outbox.verdict()) == (ids, GOOD)


def test_a_replayed_event_keeps_its_identity(outbox):
    """A replayed message has the original event id, key, value, topic and partition, and a header for the replay."""
    id_ = outbox.add("k")
    outbox.publish()
    outbox.execute('UPDATE outbox SET published = false, "publishedAt" = NULL WHERE id = %(id)s', id=id_)
    outbox.execute("INSERT INTO payctl.event_context (event_id, replay_run_id) VALUES (%(id)s, 'run-1')", id=id_)
    outbox.publish()
    first, second = outbox.messages()
    assert (first.topic, first.partition, first.key, first.value) == (
        second.topic, second.partition, second.key, second.value,
    )  # fmt: skip
    assert second.headers == (*first.headers, ("replayRunId", b"run-1"))


def test_publishers_are_not_told_of_other_replays(outbox):
    """A replay of PAYMENT_COMPLETED events does not cause a rescan, because it cannot put events out of order."""
    done = outbox.add("k", COMPLETED, age=20)
    outbox.publish()
    requeue(outbox, done)
    assert outbox.execute("SELECT owner FROM payctl.publishers WHERE shard = 0") == []


def test_a_publisher_notices_a_replay_that_commits_after_it_wrote_its_name(outbox):
    """A replay records a time ahead of the clock, so a publisher that wrote its name before the commit also rescans.

    No list of publishers contains the replay.
    """
    failed = outbox.add("k", FAILED, age=20)
    outbox.publish()
    requeue(outbox, failed)
    sql = "SELECT since > clock_timestamp() + interval '20 s' FROM payctl.publishers WHERE shard = 0"
    ((ahead,),) = outbox.execute(sql)
    assert ahead
    with outbox.engine.connect() as connection:
        names = [one.name for one in seen(connection)[0]]
    assert "replay" not in " ".join(names)


def test_a_replay_of_many_chunks_dates_publishers_half_a_minute_ahead(outbox):
    """After a replay of many chunks, the times in payctl.publishers are at most half a minute ahead of the clock."""
    outbox.insert(3 * CHUNK, event_type=FAILED, state="published", age=timedelta(minutes=10))
    requeue(outbox, *(row.id for row in outbox.rows()))
    assert set(outbox.states()) == {"pending"}
    outbox.run(Clockwork(), max_batches=1)
    sql = "SELECT shard, since < clock_timestamp() + interval '31 s' FROM payctl.publishers ORDER BY shard"
    assert outbox.execute(sql) == [(0, True), (1000, True)]
