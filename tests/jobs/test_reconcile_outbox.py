"""Test that ``payctl reconcile outbox`` reports a missing event as lost only if its record should have been found."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from ticketbottle_payctl.broker.partition import partition_of, possible_partitions
from ticketbottle_payctl.broker.window import Copy, PartitionRead, Unread, Window
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.jobs.reconcile import compare_outbox as job
from ticketbottle_payctl.jobs.reconcile.compare_outbox import Difference, compare_outbox
from ticketbottle_payctl.jobs.reconcile.coverage import SLACK, Coverage, Unjudged
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox import sent_events
from ticketbottle_payctl.store.outbox.sent_events import SentEvent, created_between

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TOPIC = "payment.completed"
KEY = next(key for key in map(str, range(100)) if partition_of(key.encode(), 3) == 2)
HOME = partition_of(KEY.encode(), 3)
ELSEWHERE = next(number for number in range(3) if number not in possible_partitions(KEY.encode(), 3))
MINUTE = timedelta(minutes=1)


def sent(minutes_ago, event_id="missing", key=KEY, event_type="PAYMENT_COMPLETED"):
    """Return an event that was published the given number of minutes ago."""
    at = NOW - minutes_ago * MINUTE
    return SentEvent(event_id, key, event_type, at, at, b"", 1)


def judged(event, partitions, found=(), sent_at=None):
    """Return why payctl does not call the event lost, or None if payctl calls it lost.

    ``found`` has (event, partition, time) for each record that was read.
    """
    events = {each.id: each for each, *_ in found} | {event.id: event}
    copies = {
        each.id: [
            Copy(each.id, TOPIC, number, 0, each.published_at if at is None else at, each.key, b"", replayed=False)
        ]
        for each, number, at in found
    }
    window = Window([copy for of_event in copies.values() for copy in of_event], 0, {TOPIC: partitions})
    return Coverage(window, events, copies).why_unjudged(event, sent_at)


def partition(minutes=None, *, oldest=0, begin=None, unread=None):
    """Return a partition. ``minutes`` is the age of the first record that was read from the partition."""
    first_at = None if minutes is None else NOW - minutes * MINUTE
    return PartitionRead(oldest, oldest if begin is None else begin, first_at, unread)


def three(home, others=None):
    """Return three partitions. ``home`` is the partition for the key."""
    return [home if number == HOME else others or partition(300) for number in range(3)]


EMPTY, TRIMMED = partition(), partition(60, oldest=7)
OLD, YOUNG = partition(300), partition(10)
CASES = {
    "every record since before the event was read": (sent(30), three(OLD), None),
    "an empty partition that never held a record": (sent(30), three(EMPTY), None),
    "nothing deleted, and an earlier record elsewhere in the topic": (sent(30), three(YOUNG), None),
    "retention has deleted older records": (sent(30), three(TRIMMED), None),
    "retention may have deleted this one": (sent(90), three(TRIMMED), Unjudged.TOO_OLD),
    "the clocks are too close to tell": (sent(60 - SLACK / MINUTE / 2), three(TRIMMED), Unjudged.TOO_OLD),
    "ten minutes after the oldest record": (sent(60 - SLACK / MINUTE), three(TRIMMED), None),
    "retention has deleted everything": (sent(30), three(partition(oldest=7)), Unjudged.TOO_OLD),
    "the whole topic is younger than the event": (sent(30), [YOUNG] * 3, Unjudged.TOO_OLD),
    "the topic is empty: created again, or another cluster": (sent(30), [EMPTY] * 3, Unjudged.TOPIC_EMPTY),
    "the topic does not exist": (sent(30), [], Unjudged.TOPIC_MISSING),
    "the event's type has no topic": (sent(30, event_type="PAYMENT_X"), [OLD] * 3, Unjudged.UNKNOWN_TYPE),
    "its partition cannot be read": (sent(30), three(partition(unread=Unread.UNREADABLE)), Unjudged.UNREADABLE),
    "its partition was not read to its end": (
        sent(30),
        three(partition(300, unread=Unread.DEADLINE)),
        Unjudged.DEADLINE,
    ),
    "its partition was compacted": (sent(30), three(partition(300, unread=Unread.GAPS)), Unjudged.GAPS),
    "an open transaction hides records": (
        sent(30),
        three(partition(300, unread=Unread.OPEN_TRANSACTION)),
        Unjudged.OPEN_TRANSACTION,
    ),
    "only the last records were read": (sent(90), three(partition(60, begin=500)), Unjudged.RECORD_LIMIT),
    "only the last records were read, and they are older": (sent(30), three(partition(60, begin=500)), None),
}
"""For each case, the event, its partitions, and the reason why payctl cannot judge it. None means that it is lost."""


@pytest.mark.parametrize(("event", "partitions", "reason"), CASES.values(), ids=CASES)
def test_an_event_is_called_lost_only_if_its_record_would_have_been_read(event, partitions, reason):
    """A missing event counts as lost only if its record cannot have been deleted, and would have been read."""
    assert judged(event, partitions) == reason


@pytest.mark.parametrize(("home", "reason"), [(partition(60, oldest=7), None), (partition(5), Unjudged.UNREADABLE)])
def test_an_unreadable_partition_matters_only_to_events_that_may_be_in_it(home, reason):
    """An unreadable partition matters only for events that can be in it.

    If the topic had fewer partitions before, Kafka may have put the event into another partition. If the key's present
    partition has records that are older than the event, the event cannot be in another partition.
    """
    others = [number for number in possible_partitions(KEY.encode(), 3) if number != HOME]
    broken = partition(unread=Unread.UNREADABLE)
    partitions = [home if number == HOME else broken if number in others else OLD for number in range(3)]
    assert judged(sent(30), partitions) == reason


def test_a_record_of_an_earlier_event_shows_that_later_records_are_not_deleted():
    """If an earlier event's record still exists, the records of later events have not been deleted."""
    earlier = sent(31, "earlier")
    found = [(earlier, HOME, None)]
    assert judged(sent(30), three(partition(31, oldest=7)), found) is None
    assert judged(sent(32), three(partition(31, oldest=7)), found) is Unjudged.TOO_OLD


def test_a_copy_that_was_sent_long_after_its_event_proves_nothing():
    """A copy that was sent long after its event does not prove that the partition still has older records."""
    earlier = sent(120, "earlier")
    found = [(earlier, HOME, NOW - MINUTE)]
    assert judged(sent(90), three(partition(1, oldest=7)), found) is Unjudged.TOO_OLD


@pytest.mark.parametrize(("late", "reason"), [(SLACK, None), (SLACK + SLACK.resolution, Unjudged.TOO_OLD)])
def test_a_copy_that_was_sent_within_ten_minutes_proves_that_later_records_are_kept(late, reason):
    """A copy that was sent at most ten minutes after its event proves that later records have not been deleted."""
    earlier = sent(120, "earlier")
    found = [(earlier, HOME, earlier.published_at + late)]
    assert judged(sent(90), three(partition(1, oldest=7)), found) is reason


@pytest.mark.parametrize("older", [TRIMMED, partition(30 + SLACK / MINUTE)])
def test_each_partition_can_show_how_many_partitions_a_topic_had(older):
    """If the last partition is new, an older partition shows how many partitions the topic had before."""
    key = next(key for key in map(str, range(100)) if {partition_of(key.encode(), n) for n in (2, 3)} == {1})
    assert judged(sent(30, key=key), [partition(unread=Unread.UNREADABLE), older, YOUNG]) is None


def test_a_producer_whose_clock_is_slow_does_not_make_events_lost():
    """If a producer's clock is slow, payctl does not report an event as lost if its record might not have been read."""
    later = sent(20, "later")
    slow = later.published_at - timedelta(hours=1)
    assert judged(sent(40), three(partition(80, begin=500)), [(later, HOME, slow)]) is Unjudged.RECORD_LIMIT
    assert judged(sent(5), three(partition(80, begin=500)), [(later, HOME, slow)]) is None


def test_a_producer_whose_clock_is_fast_does_not_make_events_lost():
    """If a producer's clock is fast, the oldest record that was read proves no more than with a right clock."""
    later = sent(20, "later")
    fast = later.published_at + 9 * MINUTE
    assert judged(sent(55), three(TRIMMED), [(later, HOME, fast)]) is Unjudged.TOO_OLD


def test_a_replayed_event_is_judged_by_the_time_of_its_first_sending():
    """A replayed event is judged by the time it was first sent, because retention may have deleted the first record."""
    assert judged(sent(30), three(TRIMMED), sent_at=NOW - 90 * MINUTE) is Unjudged.TOO_OLD


def test_a_reading_is_complete_if_no_partition_reached_the_deadline():
    """A reading is incomplete if the deadline passed, but complete if only a partition without a leader is missing."""
    assert Window((), 0, {TOPIC: [partition(unread=Unread.UNREADABLE)]}).complete
    assert not Window((), 0, {TOPIC: [partition(unread=Unread.DEADLINE)]}).complete


def test_every_reason_of_the_reader_is_a_reason_of_the_report():
    """Every reason for which the reader skips a record is also listed in the report."""
    assert set(TOPICS.values()) > {TOPIC}
    assert {each.value for each in Unread} <= {each.value for each in Unjudged}


def record(event, offset, minutes_ago=None, number=0, **changes):
    """Return a record of an event. ``changes`` replace fields.

    The record was sent ``minutes_ago``, or at the same time as the event if ``minutes_ago`` is None.
    """
    at = event.published_at if minutes_ago is None else NOW - minutes_ago * MINUTE
    return Copy(event.id, TOPIC, number, offset, at, event.key, event.digest, replayed=False)._replace(**changes)


A, B, UNKNOWN = sent(30, "a"), sent(29, "b"), sent(28, "c", event_type="PAYMENT_X")
OTHER = sent(29, "b", key="another key")
READ, CUT = [partition(300)] * 2, [partition(35, oldest=7), partition(300)]
LOST = ("lost", f"not in {TOPIC}", 0, True)
DIFFERENCES = {
    "each event once and in order": ([A, B], READ, [record(A, 1), record(B, 2)], {}),
    "no record": ([A], READ, [], {"a": LOST}),
    "records of two payments": ([A, OTHER], READ, [record(OTHER, 1), record(A, 2)], {}),
    "another value": ([A], READ, [record(A, 1, digest=b"x")], {"a": ("wrong", "another value", 1, False)}),
    "another key": ([A], READ, [record(A, 1, key="x")], {"a": ("wrong", "another key", 1, False)}),
    "another topic": ([A], READ, [record(A, 1, topic="x")], {"a": ("wrong", "another topic", 1, True)}),
    "another topic, and retention may have deleted the right record": (
        [A],
        [partition(20, oldest=7)] * 2,
        [record(A, 1, topic="x")],
        {"a": ("wrong", "another topic", 1, False)},
    ),
    "two topics": (
        [A],
        READ,
        [record(A, 1, topic="x"), record(A, 1, replayed=True)],
        {"a": ("wrong", "another topic", 2, False)},
    ),
    "all is different": (
        [A],
        READ,
        [record(A, 1, digest=b"x", key="x", topic="x")],
        {"a": ("wrong", "another key, topic, value", 1, True)},
    ),
    "a replay": ([A], READ, [record(A, 1), record(A, 2, replayed=True)], {}),
    "two replays": ([A], READ, [record(A, 1, replayed=True), record(A, 2, replayed=True)], {}),
    "twice": ([A], READ, [record(A, 1), record(A, 2)], {"a": ("double", f"{TOPIC}/0@1, {TOPIC}/0@2", 2, False)}),
    "twice and a replay": (
        [A],
        READ,
        [record(A, 1), record(A, 2), record(A, 3, replayed=True)],
        {"a": ("double", f"{TOPIC}/0@1, {TOPIC}/0@2", 3, False)},
    ),
    "six times": (
        [A],
        READ,
        [record(A, number) for number in range(6)],
        {"a": ("double", ", ".join(f"{TOPIC}/0@{number}" for number in range(5)), 6, False)},
    ),
    "out of order in a partition": (
        [A, B],
        READ,
        [record(A, 2), record(B, 1)],
        {"b": ("out_of_order", "sent before a", 1, False)},
    ),
    "the first record counts": ([A, B], READ, [record(A, 1), record(B, 2), record(A, 3, 20, replayed=True)], {}),
    "out of order in two partitions": (
        [A, B],
        READ,
        [record(A, 1, 20), record(B, 9, 21, number=1)],
        {"b": ("out_of_order", "sent before a", 1, False)},
    ),
    "at the same time in two partitions": ([A, B], READ, [record(A, 1, 20), record(B, 9, 20, number=1)], {}),
    "in order in two partitions": ([A, B], READ, [record(A, 9, 21), record(B, 1, 20, number=1)], {}),
    "a replay after all first records": (
        [A, B],
        READ,
        [record(A, 2, 1, replayed=True), record(B, 1)],
        {"b": ("out_of_order", "sent before a", 1, False)},
    ),
    "a replay, and retention may have deleted the first record": (
        [A, B],
        CUT,
        [record(A, 2, 1, replayed=True), record(B, 1)],
        {},
    ),
}
"""For each case, the events, the partitions, the records, and the differences by event id."""


@pytest.fixture
def compared(monkeypatch):
    """Return a function that compares events with records, without a database."""

    def compare(events, partitions, records):
        monkeypatch.setattr(job, "transaction", lambda *_, **__: nullcontext())
        monkeypatch.setattr(sent_events, "created_between", lambda *_: events)
        window = Window(records, 0, {TOPIC: partitions})
        return compare_outbox(None, lambda *_: window, since=NOW, until=NOW)

    return compare


@pytest.mark.parametrize(("events", "partitions", "records", "expected"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_comparison_finds_each_kind_of_difference(compared, events, partitions, records, expected):
    """A comparison finds lost, wrong, double and out-of-order events.

    The comparison says which of these events a replay can repair.
    """
    found = compared(events, partitions, records).disagreements
    assert {each.event.id: (each.difference, each.detail, each.copies, each.repairable) for each in found} == expected
    assert len(found) == len(expected)


def test_missing_events_are_listed_from_the_oldest_to_the_newest(compared):
    """Events that are lost, and events that payctl cannot judge, are sorted by creation time and then by id."""
    twins = [sent(29, "d"), sent(29, "a2")]
    found = compared([UNKNOWN, *twins, A], READ, [])
    assert [each.event.id for each in found.disagreements] == ["a", "a2", "d"]
    assert [(each.event.id, each.reason) for each in found.not_judged] == [("c", Unjudged.UNKNOWN_TYPE)]
    found = compared([UNKNOWN, *twins, A], [], [])
    assert [each.event.id for each in found.not_judged] == ["a", "a2", "d", "c"]


@pytest.mark.postgres
def test_only_an_event_that_its_topic_lacks_can_be_repaired(engine):
    """A replay repairs only a lost event. If an event was sent twice or too late, a replay would send one more copy.

    The differences are sorted by the creation time of their events.
    """
    with engine.begin() as connection:
        insert_events(connection, 3, aggregates=1, state="published", age=MINUTE)
    since, until = datetime.now(UTC) - 5 * MINUTE, datetime.now(UTC)
    with engine.begin() as connection:
        found = sorted(created_between(connection, since, until, 9), key=lambda event: event.created_at)
    first, second, third = found

    def copy(event, offset):
        return Copy(event.id, TOPIC, 0, offset, event.published_at, event.key, event.digest, replayed=False)

    window = Window([copy(second, 1), copy(first, 2), copy(first, 3)], 0, {TOPIC: [partition(300)]})
    found = compare_outbox(engine, lambda *_: window, since=since, until=until).disagreements
    assert [(each.event.id, each.difference, each.repairable) for each in found] == [
        (first.id, Difference.DOUBLE, False),
        (second.id, Difference.OUT_OF_ORDER, False),
        (third.id, Difference.LOST, True),
    ]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("number", "words"),
    [(1_000_000, "no topic"), (1_000_001, "more than 1,000,000 events were created in this window")],
)
def test_at_most_a_million_events_are_compared(engine, monkeypatch, number, words):
    """A comparison of more than a million events is refused before a topic is read."""
    monkeypatch.setattr(sent_events, "created_between", lambda *_: map(Named, range(number)))

    def read(*_arguments):
        message = "no topic"
        raise InputError(message)

    with pytest.raises(InputError) as raised:
        compare_outbox(engine, read, since=NOW, until=NOW + MINUTE)
    assert raised.value.message == words


class Named(NamedTuple):
    """A row with only an id."""

    id: int
