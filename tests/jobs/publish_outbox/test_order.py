"""Test that a payment's events are sent in order, and wait behind an earlier event that is not sent."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from tests.checker import rows_of
from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED, GOOD, Clockwork, new_producer
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.publish_outbox import Observer, OnDead, PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.run import PublisherRun
from ticketbottle_payctl.settings import KafkaSettings

TYPES = (COMPLETED, FAILED, CANCELLED)
BATCH_SIZES = (1, 2, 3, 1000)
LONG_AGO = 7200.0  # an age at which every retry is due


class Watching(Producer):
    """A producer that checks, before each send, that all earlier events of the payments are committed."""

    def __init__(self, engine, bootstrap):
        super().__init__(producer_config(KafkaSettings(bootstrap)))
        self.engine, self.too_early, self.waves = engine, [], []

    def send(self, wave, *arguments):
        """Record the events that are sent too early, and send the wave."""
        rows = rows_of(self.engine)
        for message in wave:
            ids = [row.id for row in rows if row.key == message.key]
            earlier = ids[: ids.index(dict(message.headers)["id"])]
            self.too_early += [row.id for row in rows if row.id in earlier and not row.published]
        self.waves.append(len(wave))
        return super().send(wave, *arguments)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_a_payment_s_events_arrive_in_order(outbox, batch_size):
    """A payment's events arrive in order, even in several batches and several topics."""
    for second in range(6):
        for key in ("a", "b", "c"):
            outbox.add(key, TYPES[second % 3], age=10 - second)
    report = outbox.publish(batch_size=batch_size)
    assert (report.stopped_because, report.counts.published, outbox.verdict()) == ("empty", 18, GOOD)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_an_event_is_sent_only_after_earlier_events_of_its_payment_are_committed(outbox, batch_size):
    """An event is sent only after the earlier events of its payment are committed."""
    for key in ("a", "b"):
        for age, event_type in ((9, FAILED), (8, CANCELLED), (7, COMPLETED)):
            outbox.add(key, event_type, age=age)
    outbox.insert(10, aggregates=4)
    producer = Watching(outbox.engine, outbox.bootstrap)
    report = outbox.publish(batch_size=batch_size, producer=producer)
    producer.close()
    assert (report.counts.published, producer.too_early, outbox.verdict()) == (16, [], GOOD)


def test_payments_with_one_event_share_one_wave(outbox):
    """If a batch has at most one event of each payment, payctl sends the whole batch as one wave."""
    outbox.insert(50)
    producer = Watching(outbox.engine, outbox.bootstrap)
    outbox.publish(producer=producer)
    producer.close()
    assert producer.waves == [50]


def test_deferred_events_are_counted_once(outbox):
    """An event that is deferred to a later wave is counted once."""
    outbox.insert(30, aggregates=3)
    report = outbox.publish()
    assert (report.counts.claimed, report.counts.published, report.counts.held, report.partial) == (30, 30, 0, False)


ERRORS = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_REQUEST,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError._TRANSPORT,  # noqa: SLF001 - the client's name for a cut connection
)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("on_dead", list(OnDead))
def test_random_delivery_failures_do_not_change_the_order(outbox, mock_kafka, seed, on_dead):
    """After random delivery failures, no event is lost, made up or out of order. The test's id contains the seed."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    for number in range(30):
        outbox.add(f"k{chance.randrange(6)}", chance.choice(TYPES), age=LONG_AGO - number)
    for _ in range(10):
        mock_kafka.fail_next(*(chance.choice((KafkaError.NO_ERROR, *ERRORS)) for _ in range(chance.randrange(8))))
        outbox.publish(batch_size=chance.choice(BATCH_SIZES), on_dead=on_dead)
    mock_kafka.forget_failures()
    report = outbox.publish(on_dead=on_dead)
    verdict = outbox.verdict()
    assert report.stopped_because == "empty"
    assert (verdict.lost, verdict.phantom, verdict.altered, verdict.reordered, verdict.overtaken) == (
        [],
        [],
        [],
        [],
        [],
    )
    rows = outbox.rows()
    first_dead = {row.key: row for row in reversed(rows) if row.state == "dead"}
    for row in rows:
        behind_dead = row.key in first_dead and row.created_at > first_dead[row.key].created_at
        waits = behind_dead and on_dead is OnDead.BLOCK
        assert row.state in ({"pending", "published", "dead"} if waits else {"published", "dead"})


def dead_then_two(outbox, key):
    """Insert a dead event and two events behind it. Return the ids."""
    return [
        outbox.add(key, FAILED, age=30, retry_count=5),
        outbox.add(key, COMPLETED, age=20),
        outbox.add(key, COMPLETED, age=10),
    ]


@pytest.mark.parametrize(("on_dead", "expected"), [(OnDead.BLOCK, 0), (OnDead.RELEASE, 2)])
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_a_dead_event_blocks_or_releases_its_payment(outbox, on_dead, expected, batch_size):
    """--on-dead decides whether events behind a dead event wait. Events of other payments are always published."""
    _, *behind = dead_then_two(outbox, "k")
    outbox.insert(7)
    report = outbox.publish(on_dead=on_dead, batch_size=batch_size)
    assert (report.stopped_because, report.counts.published) == ("empty", 7 + expected)
    assert [outbox.row(id_).state for id_ in behind] == ["published" if expected else "pending"] * 2
    assert outbox.verdict() == GOOD


def test_a_shard_remembers_its_own_dead_events_only(outbox):
    """With four shards, each shard remembers only the dead events of its own payments."""
    outbox.insert(40, state="dead", age=timedelta(hours=1))
    clockwork = Clockwork(waits=3)
    run = PublisherRun(
        outbox.engine, outbox.producer, PublishOptions(loop=True, shards=4), clockwork, Observer(), clockwork
    )
    run.run()
    blocked = [set(shard.backlog._blocks) for shard in run.shards]  # noqa: SLF001
    assert all(len(keys) < 40 for keys in blocked)
    assert sum(map(len, blocked)) == len(set().union(*blocked)) == 40


def test_too_many_dead_events_are_logged(outbox, monkeypatch, caplog):
    """If there are more dead events than a publisher can remember, the publisher logs a warning."""
    dead_then_two(outbox, "k")
    outbox.publish()
    assert "publish_outbox_too_many_failed" not in caplog.messages
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.backlog._MOST_FAILED", 1)
    outbox.publish()
    assert "publish_outbox_too_many_failed" in caplog.messages


@pytest.mark.parametrize("on_dead", list(OnDead))
def test_an_event_that_dies_in_this_run_blocks_at_once(outbox, on_dead):
    """If an event dies during a run, --on-dead also applies to the events behind it in the same batch."""
    first = outbox.add("k", "REFUND_MADE", age=30)
    second = outbox.add("k", COMPLETED, age=20)
    outbox.publish(on_dead=on_dead)
    assert outbox.row(first).state == "dead"
    assert outbox.row(second).state == ("published" if on_dead is OnDead.RELEASE else "pending")


def test_an_event_behind_a_retry_and_a_dead_event_waits_for_both(outbox, mock_kafka):
    """An event behind a retry and a dead event keeps waiting for the dead event after the retry has succeeded."""
    retried = outbox.add("k", COMPLETED, age=LONG_AGO, retry_count=1)
    dead = outbox.add("k", FAILED, age=LONG_AGO - 1, retry_count=5)
    last = outbox.add("k", COMPLETED, age=LONG_AGO - 2)
    mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
    outbox.publish()
    outbox.publish()
    assert [outbox.row(id_).state for id_ in (retried, dead, last)] == ["published", "dead", "pending"]


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_an_excluded_type_blocks_its_payments(outbox, batch_size):
    """With --type, an event waits if an earlier event of its payment has an excluded type."""
    held_back = outbox.add("k", FAILED, age=30)
    behind = outbox.add("k", COMPLETED, age=20)
    before = outbox.add("m", COMPLETED, age=30)
    outbox.add("m", FAILED, age=20)
    free = outbox.add("n", COMPLETED, age=10)
    report = outbox.publish(types=(COMPLETED,), batch_size=batch_size)
    assert (report.stopped_because, set(outbox.sent())) == ("empty", {before, free})
    assert {outbox.row(id_).state for id_ in (held_back, behind)} == {"pending"}
    outbox.publish()
    assert outbox.verdict() == GOOD


def test_with_a_type_only_existing_events_are_sent(outbox):
    """With --type, a publisher does not send events that are written during its run.

    Such an event might follow a pending event of another type.
    """
    late = outbox.add("k", COMPLETED, age=-5)
    assert outbox.publish(types=(COMPLETED,)).counts.published == 0
    assert outbox.row(late).state == "pending"


def test_the_replaced_service_s_rows_are_not_sent_again(outbox):
    """A publisher does not send half-marked rows, because the old service has already sent them."""
    outbox.insert(20, state="sent_unmarked")
    outbox.insert(3)
    report = outbox.publish()
    assert (report.counts.claimed, len(outbox.messages())) == (3, 3)
    assert sum(row.published for row in outbox.rows()) == 3


def test_events_of_one_millisecond_are_ordered_by_id_in_code_points(outbox):
    """Events from the same millisecond are ordered by the code points of their ids, in payctl and in PostgreSQL."""
    ids = ["a", "B", "_", "é", "Z", "z", "0"]
    for id_ in ids:
        outbox.add("k", id=id_)
    outbox.execute("""UPDATE outbox SET "createdAt" = '2026-11-22 03:04:05.678'""")
    outbox.publish(batch_size=2)
    assert outbox.sent() == sorted(ids)


def test_payments_with_more_events_than_a_batch(outbox):
    """If a payment has more events than a batch can hold, all its events arrive once and in order."""
    outbox.insert(60, aggregates=2, age=timedelta(minutes=5))
    producer = new_producer(outbox.bootstrap)
    report = outbox.publish(batch_size=7, producer=producer)
    producer.close()
    assert (report.counts.published, outbox.verdict()) == (60, GOOD)
