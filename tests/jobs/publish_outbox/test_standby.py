"""Test that, while no event can be sent, only one of two publisher loops works and each reports the cause once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from confluent_kafka import KafkaError

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, Clockwork
from tests.jobs.publish_outbox.turns import Turns, run_in_turns
from ticketbottle_payctl.jobs.publish_outbox import Observer
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.shard_lock import Entry

SECONDS = 80
RESCAN = 30
LONGEST_POLL = 1.2


def dead(outbox, _mock_kafka):
    """Insert an event behind a dead event. Return the reported cause, and a function that removes the cause."""
    blocker = outbox.add("k", age=60, retry_count=5)
    outbox.add("k", age=50)
    return ["dead"], lambda: outbox.execute("""UPDATE outbox SET "retryCount" = 0 WHERE id = %(id)s""", id=blocker)


def many_behind_it(outbox, mock_kafka):
    """Insert thirty events that wait behind a dead event."""
    found = dead(outbox, mock_kafka)
    for _ in range(29):
        outbox.add("k", age=40)
    return found


def topic_missing(outbox, mock_kafka):
    """Insert an event whose topic is missing."""
    outbox.add("k", age=60)
    mock_kafka.fail_topic("payment.completed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    return [COMPLETED, "topic"], lambda: mock_kafka.fail_topic("payment.completed", 0)


BLOCKED = pytest.mark.parametrize("case", [dead, many_behind_it, topic_missing], ids=lambda case: case.__name__)


@pytest.mark.parametrize("shards", [1, 3])
@BLOCKED
def test_two_loops_claim_a_blocked_event_only_at_each_rescan(case, shards, outbox, mock_kafka):
    """If an event is blocked, two publisher loops poll once a second, and claim the event only at each rescan.

    Each of them reports the cause once.
    """
    cause, _ = case(outbox, mock_kafka)
    turns = Turns(2, SECONDS, {})
    reports = run_in_turns(outbox, turns, shards=shards)
    assert [turn.said for turn in turns.loops] == [[cause], [cause]]
    assert max(turn.waits for turn in turns.loops) < SECONDS / 0.8 + 20
    blocked = len(outbox.rows()) - outbox.states().count("dead")
    assert sum(report.counts.claimed for report in reports) <= 2 * (SECONDS / RESCAN + 1) * blocked
    assert [report.counts.held for report in reports] == [blocked] * 2


@pytest.mark.parametrize("shards", [1, 3])
@BLOCKED
def test_two_loops_send_a_blocked_event_when_its_cause_is_gone(case, shards, outbox, mock_kafka):
    """After the cause is gone, one of two publisher loops sends the event at its next rescan.

    Each loop reports once that the cause is gone.
    """
    cause, fix = case(outbox, mock_kafka)
    turns = Turns(2, SECONDS, {40: fix})
    run_in_turns(outbox, turns, seed=1, shards=shards)
    assert [turn.said for turn in turns.loops] == [[cause, []]] * 2
    assert (set(outbox.states()), outbox.verdict()) == ({"published"}, GOOD)
    assert max(at for turn in turns.loops for at in turn.sent_at) <= 40 + RESCAN + 2 * LONGEST_POLL


def test_a_loop_that_has_not_tried_again_reports_the_type_without_the_topic(outbox, mock_kafka):
    """If a loop looks for causes after the topic is back but before its own rescan, it does not report a waiting event.

    The loop still reports the event type. The seed makes this loop look just after the other loop has sent the event.
    """
    cause, fix = topic_missing(outbox, mock_kafka)
    turns = Turns(2, SECONDS, {40: fix})
    run_in_turns(outbox, turns, seed=3)
    assert [turn.said for turn in turns.loops] == [[cause, []], [cause, cause[:1], []]]
    assert (set(outbox.states()), outbox.verdict()) == ({"published"}, GOOD)


def test_a_standby_leaves_the_shard_to_the_working_publisher(outbox):
    """While no event is pending, a publisher takes over the shard only at its rescans, and not at each poll.

    With this seed, each publisher takes over the shard at least once.
    """
    outbox.insert(3)
    owners = []

    def note():
        owners.extend(outbox.execute("SELECT owner FROM payctl.publishers"))

    run_in_turns(outbox, Turns(2, SECONDS, dict.fromkeys(range(10, SECONDS), note)))
    changes = sum(before != after for before, after in pairwise(owners))
    assert len(set(owners)) == 2
    assert changes <= 2 * SECONDS / RESCAN


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("frozen", [{}, {0: 30.0}, {1: 30.0}], ids=["both run", "0 is frozen", "1 is frozen"])
def test_two_loops_send_a_new_event_at_the_next_poll(frozen, shards, outbox):
    """One of two publisher loops sends a new event at its next poll, even if the other publisher has disappeared.

    An event waits behind a dead event all the time.
    """
    dead(outbox, None)
    outbox.insert(3)
    turns = Turns(2, SECONDS, {43: lambda: outbox.add("new"), 61: lambda: outbox.add("newer")}, frozen)
    run_in_turns(outbox, turns, shards=shards)
    sent_at = sorted(at for turn in turns.loops for at in turn.sent_at if at > 40)
    assert len(sent_at) == 2
    assert sent_at[0] - 43 <= 2 * LONGEST_POLL
    assert sent_at[1] - 61 <= 2 * LONGEST_POLL
    assert (sorted(outbox.states()), outbox.verdict()) == (["dead", "pending"] + ["published"] * 5, GOOD)


def test_a_standby_does_not_send_an_event_behind_an_event_that_died_elsewhere(outbox):
    """A publisher on standby does not send events behind an event that died under the working publisher."""
    turns = Turns(2, SECONDS, {20: lambda: outbox.add("k", "NO_SUCH_TYPE"), 25: lambda: outbox.add("k")})
    run_in_turns(outbox, turns)
    assert outbox.states() == ["dead", "pending"]


def test_a_publisher_that_was_refused_rescans_before_its_next_claim(outbox):
    """A publisher that failed to lock its shard later sends each payment's events in order.

    In the meantime, another publisher may have sent a payment's first event and ended before it wrote its name.
    """
    outbox.insert(3)
    added = []
    with outbox.engine.connect() as other:

        def enter():
            assert shard_lock.enter(other, 0, 1, 0, "elsewhere:77:abc") is Entry.TAKEN_OVER

        def leave():
            other.rollback()
            added.extend((outbox.add("k", age=20), outbox.add("k")))

        outbox.run(Clockwork(waits=12, at={4: enter, 8: leave}), loop=True)
    assert outbox.sent()[3:] == added


class Intruder:
    """Another publisher. ``holds`` takes the time in seconds, and returns whether this publisher holds the shard."""

    def __init__(self, outbox, clockwork, holds):
        self.outbox, self.clockwork = outbox, clockwork
        self.holds, self.said, self.is_in = holds, [], False

    def run(self, shards=1):
        """Run a publisher loop next to the intruder. Return the causes that the loop has reported, in order."""
        with self.outbox.engine.connect() as other:
            self.clockwork.at = dict.fromkeys(range(1, self.clockwork.most), lambda: self._move(other, shards))
            observer = Observer(on_obstacles=self._on_obstacles)
            self.outbox.run(self.clockwork, observer=observer, loop=True, shards=shards)
        return self.said

    def _move(self, other, shards):
        wanted = self.holds(self.clockwork.now - 1000)
        if wanted and not self.is_in:
            for shard in range(shards):
                assert shard_lock.enter(other, shard, shards, 0, "elsewhere:77:abc") is not Entry.REFUSED
        elif self.is_in and not wanted:
            other.rollback()
        self.is_in = wanted

    def _on_obstacles(self, found):
        self.said.append([*found.stopped, *(each.reason.value for each in found.blockers)])


@pytest.fixture
def looks_at_each_poll(monkeypatch):
    """Make a loop look for causes at each poll, and never report a held shard."""
    for name, seconds in (("_LOOK_AGAIN", 0.0), ("_LOOK_EVERY", 0.0), ("_LOOK_SHARE", 0), ("_LOCKED_PATIENCE", 1e9)):
        monkeypatch.setattr(f"ticketbottle_payctl.jobs.publish_outbox.run.{name}", seconds)


@pytest.mark.usefixtures("looks_at_each_poll")
@pytest.mark.parametrize("shards", [1, 3])
@BLOCKED
def test_a_loop_does_not_report_a_blocked_event_as_sent_while_another_publisher_works(case, shards, outbox, mock_kafka):
    """If another publisher holds the shards now and then, a publisher loop still reports a blocked event once."""
    cause, _ = case(outbox, mock_kafka)
    said = Intruder(outbox, Clockwork(waits=60), lambda seconds: seconds > 5 and int(seconds) % 4 < 2).run(shards)
    assert said[-1] == cause
    assert [] not in said


@pytest.mark.usefixtures("looks_at_each_poll")
def test_a_loop_that_has_cleared_its_memory_does_not_report_that_no_event_waits(outbox, mock_kafka):
    """When a missing topic exists again, a loop clears its cached state.

    If another publisher holds the shard at that time, the loop does not report that no event waits.
    """
    cause, _ = dead(outbox, mock_kafka)
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    clockwork = Clockwork(waits=70)
    intruder = Intruder(outbox, clockwork, lambda seconds: 28 < seconds < 33)

    def holds(seconds, before=intruder.holds):
        if seconds > 20:
            mock_kafka.fail_topic("payment.failed", 0)
        return before(seconds)

    intruder.holds = holds
    assert intruder.run() == [[FAILED, *cause], cause]
