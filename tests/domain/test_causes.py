"""Test that payctl derives the causes of pending and dead events from evidence about the database and the brokers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.evidence import (
    ANSWERED,
    AWAY,
    BEHIND,
    BLOCKED,
    CUT_OFF,
    ENDED,
    FAILED,
    FAILING,
    GONE,
    IDLES,
    LATE,
    LOCKED,
    NO_TOPIC,
    NOT_DUE,
    OTHER,
    READY,
    TOO_LARGE,
    UNANSWERED,
    WORKS,
    YOUNG,
    seen,
)
from ticketbottle_payctl.domain.causes import (
    OVERDUE_AFTER,
    SEEN_WITHIN,
    WAITS_AFTER,
    Cause,
    CauseKind,
    Evidence,
    Holder,
    causes,
)

LOCKED_LATELY = LOCKED._replace(holder=Holder(4711, "psql", "minh", "active", WAITS_AFTER.total_seconds()))


@pytest.mark.parametrize(
    ("evidence", "brokers", "expected"),
    [
        (seen(), ANSWERED, []),
        (seen(publishers=[GONE]), ANSWERED, []),
        (seen(slot_active=True), ANSWERED, []),
        (seen(slot_active=False), ANSWERED, ["debezium"]),
        (seen(READY), ANSWERED, ["no_publisher"]),
        (seen(READY), None, ["no_publisher"]),
        (seen(READY, publishers=[GONE]), ANSWERED, ["no_publisher"]),
        (seen(READY, publishers=[GONE]), AWAY, ["brokers", "no_publisher"]),
        (seen(READY, publishers=[GONE]), NO_TOPIC, ["no_publisher", "topic"]),
        (seen(FAILING, publishers=[GONE]), ANSWERED, ["no_publisher"]),
        (seen(READY, publishers=[GONE], slot_active=True), ANSWERED, ["debezium"]),
        (seen(BLOCKED._replace(oldest_s=LATE), dead=1, dead_groups=[TOO_LARGE], slot_active=True), ANSWERED,
         ["debezium", "dead"]),
        (seen(READY, publishers=[IDLES], slot_active=False), ANSWERED, ["debezium"]),
        (seen(READY, publishers=[IDLES]), NO_TOPIC, ["topic"]),
        (seen(READY, READY._replace(event_type=FAILED), publishers=[IDLES]), NO_TOPIC, ["topic", "unknown"]),
        (seen(READY, publishers=[IDLES]), AWAY, ["brokers"]),
        (seen(READY, publishers=[IDLES, OTHER]), ANSWERED, ["shards"]),
        (seen(READY, publishers=[IDLES, OTHER._replace(ended=True)]), ANSWERED, ["unknown"]),
        (seen(READY, table_locks=[Holder(1, None, None, None, 9)], publishers=[IDLES]), ANSWERED, ["table_lock"]),
        (seen(LOCKED, publishers=[IDLES]), ANSWERED, ["row_lock"]),
        (seen(LOCKED, LOCKED._replace(event_type=FAILED), publishers=[IDLES]), ANSWERED, ["row_lock"]),
        (seen(LOCKED._replace(oldest_s=YOUNG.oldest_s), publishers=[IDLES]), ANSWERED, ["row_lock"]),
        (seen(LOCKED_LATELY._replace(oldest_s=YOUNG.oldest_s), publishers=[IDLES]), ANSWERED, []),
        (seen(LOCKED_LATELY, publishers=[IDLES]), ANSWERED, ["row_lock"]),
        (seen(LOCKED, READY, publishers=[IDLES]), ANSWERED, ["row_lock", "unknown"]),
        (seen(FAILING, publishers=[IDLES]), ANSWERED, ["failing"]),
        (seen(NOT_DUE, publishers=[IDLES]), ANSWERED, ["not_due"]),
        (seen(NOT_DUE, publishers=[GONE]), ANSWERED, ["not_due"]),
        (seen(READY, publishers=[WORKS]), ANSWERED, ["backlog"]),
        (seen(READY, publishers=[IDLES], sent_lately=9, newest_sent_s=LATE), ANSWERED, ["backlog"]),
        (seen(READY, publishers=[IDLES], sent_lately=9, newest_sent_s=1.0), ANSWERED, ["unknown"]),
        (seen(READY, publishers=[IDLES]), ANSWERED, ["unknown"]),
        (seen(READY, publishers=[IDLES]), None, ["unknown"]),
        (seen(dead=1, dead_groups=[TOO_LARGE]), ANSWERED, ["dead"]),
        (seen(dead=4, dead_groups=[TOO_LARGE]), ANSWERED, ["dead", "dead"]),
        (seen(BLOCKED, dead=1, blocked=1, dead_groups=[TOO_LARGE]), ANSWERED, ["dead", "blocked"]),
        (seen(BLOCKED, READY, dead=1, blocked=1, dead_groups=[TOO_LARGE], publishers=[GONE]), ANSWERED,
         ["no_publisher", "dead", "blocked"]),
        (seen(pending=5, oldest_s=LATE, publishers=[IDLES]), ANSWERED, ["unknown"]),
        (seen(pending=5, oldest_s=5.0, publishers=[GONE]), ANSWERED, []),
    ],
)  # fmt: skip
def test_each_state_of_the_outbox_has_its_causes(evidence, brokers, expected):
    """Each outbox state has the expected causes, sorted by urgency. An idle publisher does not count as missing."""
    assert [cause.kind for cause in causes(evidence, brokers)] == expected


def test_a_lock_on_several_events_is_one_cause():
    """A session that locks events of two types is one cause, which counts all these events and names the oldest."""
    evidence = seen(LOCKED, LOCKED._replace(event_type=FAILED, events=2, oldest_s=LATE + 1, id="e8"))
    (cause,) = causes(evidence, ANSWERED)
    assert cause.fact == "3 events are locked by pid 4711, psql as minh, idle in transaction, for 1 min 30 s"
    assert cause.meaning.startswith("the oldest is e8;")


@given(
    waiting=st.lists(st.sampled_from([READY, FAILING, BEHIND, UNANSWERED, NOT_DUE, LOCKED, BLOCKED])),
    publishers=st.lists(st.sampled_from([IDLES, GONE, WORKS, OTHER, ENDED, CUT_OFF])),
    slot=st.sampled_from([None, True, False]),
    brokers=st.sampled_from([None, NO_TOPIC, AWAY, ANSWERED]),
    dead=st.integers(0, 3),
    sent=st.integers(0, 3),
)
def test_every_dead_or_overdue_event_has_a_cause(waiting, publishers, slot, brokers, dead, sent):
    """Every dead or overdue event has a cause, even if it is only "unknown". Each cause has advice or a command."""
    evidence = seen(*waiting, publishers=publishers, slot_active=slot, dead=dead, sent_lately=sent)
    found = causes(evidence, brokers)
    assert found or not (dead or (evidence.oldest_s or 0) > OVERDUE_AFTER.total_seconds())
    assert all(cause.fact and cause.meaning and (cause.advice or cause.command) for cause in found)


def test_a_young_event_has_no_cause_yet():
    """An event has a cause only if it is overdue, because a scheduled publisher might be between two runs."""
    assert causes(seen(YOUNG, publishers=[GONE]), ANSWERED) == ()


def test_an_event_is_overdue_after_two_minutes_and_not_before():
    """An event that has waited for exactly two minutes is not overdue yet."""
    at_the_limit = OVERDUE_AFTER.total_seconds()
    assert at_the_limit == 120
    on_time = READY._replace(oldest_s=at_the_limit)
    assert causes(seen(on_time), ANSWERED) == ()
    assert causes(seen(on_time._replace(oldest_s=at_the_limit + 0.001)), ANSWERED) != ()
    assert causes(seen(pending=5, oldest_s=at_the_limit), ANSWERED) == ()
    assert causes(seen(pending=5, oldest_s=None), ANSWERED) == ()


def test_a_publisher_counts_as_running_for_90_seconds():
    """A publisher counts as missing if it was last seen 90 seconds ago or earlier."""
    assert SEEN_WITHIN.total_seconds() == 90
    kinds = [
        [cause.kind for cause in causes(seen(READY, publishers=[IDLES._replace(seconds=seconds)]), ANSWERED)]
        for seconds in (89.999, 90.0)
    ]
    assert kinds == [["unknown"], ["no_publisher"]]


def test_a_backlog_is_overtaken_if_a_newer_event_was_sent():
    """If payctl has sent an event that is over two minutes newer than a waiting event, the cause is not `backlog`."""
    newest = LATE - OVERDUE_AFTER.total_seconds()
    kinds = [
        causes(seen(READY, publishers=[WORKS], newest_sent_s=seconds), ANSWERED)[0].kind
        for seconds in (newest, newest - 0.001)
    ]
    assert kinds == ["backlog", "unknown"]


@pytest.mark.parametrize("kind", list(CauseKind))
def test_events_that_are_sent_without_help_only_wait(kind):
    """Only the `not_due`, `backlog`, `rescan` and `between_runs` causes go away without an operator's help."""
    assert Cause(kind, 1, "", "").ends_by_itself is (kind in {"not_due", "backlog", "rescan", "between_runs"})


def test_evidence_of_an_empty_outbox_has_no_events():
    """Evidence without any facts has no events and no causes."""
    nothing = Evidence()
    assert (nothing.pending, nothing.dead, nothing.blocked, nothing.sent_lately, nothing.sampled) == (0, 0, 0, 0, False)
    assert causes(nothing, ANSWERED) == ()
