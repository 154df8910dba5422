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
    NOT_LOCKED,
    OTHER,
    READY,
    SUPERSEDED,
    TOO_LARGE,
    UNANSWERED,
    WORKS,
    YOUNG,
    seen,
    typed,
)
from ticketbottle_payctl.domain.causes import (
    OVERDUE_AFTER,
    SEEN_WITHIN,
    Brokers,
    Cause,
    CauseKind,
    Evidence,
    Holder,
    causes,
    idle,
    without_error,
)


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


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (seen(READY, publishers=[GONE]), "no publisher has been seen for 12 min; the last one was host:12"),
        (seen(READY), "no publisher has ever run"),
        (seen(READY, publishers=[IDLES]), "3 events have waited for up to 3 min, and no known cause"),
        (seen(READY, publishers=[IDLES], sampled=True), "at least 3 events have waited for up to 3 min"),
        (seen(READY._replace(events=1, requeued_s=40.2), publishers=[IDLES]),
         "1 event, written 3 min ago, has waited for 40.2 s since its replay, and no known cause"),
        (seen(READY._replace(requeued_s=40.2), YOUNG, publishers=[IDLES]),
         "3 events have waited for up to 3 min (the oldest was requeued 40.2 s ago), and no known cause"),
        (seen(READY, publishers_known=False), "this role cannot see when the last one ran"),
        (seen(LOCKED), "1 event is locked by pid 4711, psql as minh, idle in transaction, for 1 min 30 s"),
        (seen(BLOCKED, dead=1), "event e5 waits behind dead event d1 of its payment"),
        (
            seen(BLOCKED, dead=1, blocked=40),
            "40 events wait behind a dead event of their payment; for example, e5 waits behind d1",
        ),
        (seen(NOT_DUE, publishers=[IDLES]), "waits for the next retry in 1 min 35 s"),
        (seen(READY, publishers=[IDLES, OTHER]), "PAYCTL_SHARDS: 1 (host:12) and 4 (host:99)"),
    ],
)  # fmt: skip
def test_a_cause_names_the_process_and_the_time(evidence, words):
    """The sentence about a cause names the event ids, the process, its application and the time."""
    assert words in " | ".join(cause.fact for cause in causes(evidence, ANSWERED))


@pytest.mark.parametrize(
    ("evidence", "words", "expected", "activity"),
    [
        (seen(YOUNG), "no publisher is active; none has run on this database yet", False, "never_seen"),
        (seen(YOUNG, publishers=[IDLES]), "no publisher is active; last activity 20 s ago", True, "running"),
        (seen(YOUNG._replace(requeued_s=35.0), publishers=[IDLES]),
         "no publisher is active; last activity 20 s ago", True, "running"),
        (seen(YOUNG._replace(requeued_s=1.0), YOUNG, publishers=[IDLES]),
         "no publisher is active; last activity 20 s ago", True, "running"),
        (seen(YOUNG._replace(requeued_s=1.0), publishers=[ENDED]),
         "no publisher is active; the last one ended 20 s ago", True, "between_runs"),
        (seen(YOUNG, publishers=[GONE]), "no publisher is active; last activity 12 min ago", False, "gone"),
        (seen(YOUNG, publishers=[GONE], last_sent_s=15.0), "no publisher is active; last activity 15 s ago",
         False, "gone"),
        (seen(YOUNG, publishers=[ENDED]), "no publisher is active; the last one ended 20 s ago", True, "between_runs"),
        (seen(YOUNG, publishers_known=False), "no publisher is active", False, "unknown"),
        (seen(READY), "no publisher is active; none has run on this database yet", False, "never_seen"),
        (seen(YOUNG, publishers=[ENDED], last_sent_s=21.0), "no publisher is active; the last one ended 20 s ago", True,
         "between_runs"),
        (seen(YOUNG, publishers=[ENDED._replace(seconds=1.0)], last_sent_s=1.1),
         "no publisher is active; the last one ended 1 s ago", True, "between_runs"),
        (seen(YOUNG, publishers=[CUT_OFF]), "the publisher cannot reach its brokers; the last attempt was 4 s ago",
         False, "without_brokers"),
        (seen(YOUNG, publishers=[CUT_OFF, IDLES], last_sent_s=9.0),
         "the publisher cannot reach its brokers; the last attempt was 4 s ago", False, "without_brokers"),
    ],
)  # fmt: skip
def test_an_event_that_waits_for_seconds_shows_that_no_publisher_is_working(evidence, words, expected, activity):
    """If an event waits for a publisher, `idle` describes the last publisher's activity.

    A publisher that was seen recently might be between two runs.
    """
    assert idle(evidence) == (words, expected, activity)


@pytest.mark.parametrize(
    "evidence",
    [
        seen(YOUNG, publishers=[WORKS]),
        seen(YOUNG, publishers=[IDLES], last_sent_s=1.0),
        seen(YOUNG, publishers=[CUT_OFF], last_sent_s=1.0),
        seen(YOUNG, slot_active=True),
        seen(YOUNG._replace(requeued_s=34.9), publishers=[IDLES]),
        seen(BLOCKED, publishers=[GONE]),
        seen(NOT_DUE, publishers=[GONE]),
        seen(pending=5, oldest_s=2.0),
    ],
)
def test_no_publisher_counts_as_missing_without_an_event_to_send(evidence):
    """`idle` returns None if a publisher is active or has just sent an event, or if no event is pending.

    It also returns None if an idle publisher will soon find the event, because a replay has just requeued it.
    """
    assert idle(evidence) is None


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (seen(), (0, False, False)),
        (seen(YOUNG, publishers=[GONE]), (3, True, False)),
        (seen(YOUNG, publishers=[IDLES]), (3, False, False)),
        (seen(READY, LOCKED, publishers=[IDLES], sampled=True), (4, True, True)),
        (seen(LOCKED, publishers=[IDLES]), (1, True, False)),
        (seen(LOCKED._replace(events=3, failed=2), publishers=[IDLES]), (1, True, False)),
        (seen(LOCKED._replace(failed=1), YOUNG, publishers=[IDLES]), (3, False, False)),
        (seen(BLOCKED, NOT_DUE, FAILING, publishers=[GONE]), (0, False, False)),
    ],
)
def test_events_that_wait_without_an_error_are_counted(evidence, expected):
    """Failed and blocked events are not counted. The count is marked as late if `stats` would warn about the events."""
    assert without_error(evidence) == expected


def test_a_young_event_has_no_cause_yet():
    """An event has a cause only if it is overdue, because a scheduled publisher might be between two runs."""
    assert causes(seen(YOUNG, publishers=[GONE]), ANSWERED) == ()


@pytest.mark.parametrize(
    ("evidence", "brokers", "sentences", "command"),
    [
        (seen(READY, publishers=[GONE]), ANSWERED,
         ["no publisher has been seen for 12 min; the last one was host:12",
          "3 events have waited for up to 3 min. Nothing is lost: a publisher sends all waiting events when it runs",
          "start the publisher again; until then, publish by hand"], ("payctl publish-outbox", True, 1)),
        (seen(slot_active=False), ANSWERED,
         ["Debezium is publishing this outbox, but no connector reads its slot",
          "no event is published until the connector runs; payctl's publishers refuse to run",
          "start the connector, or take the outbox back"], ("payctl cdc cut-back", True, 1)),
        (seen(READY, slot_active=False), ANSWERED,
         ["Debezium is publishing this outbox, but no connector reads its slot",
          "no event is published until the connector runs; payctl's publishers refuse to run",
          "start the connector, or take the outbox back"], ("payctl cdc cut-back", True, 3)),
        (seen(READY, slot_active=True), ANSWERED,
         ["Debezium is publishing this outbox; 3 events have waited for up to 3 min to be marked as published",
          "payctl's publishers send nothing; a scheduled `payctl cdc mark` marks the events that are in Kafka",
          None], ("payctl cdc mark", True, 1)),
        (seen(READY, table_locks=[Holder(None, None, None, None, None)], publishers=[IDLES]), ANSWERED,
         ["the outbox table is locked by a prepared transaction",
          "no event can be claimed, and no callback can be settled, until its transaction ends",
          "find it in pg_prepared_xacts; its owner must commit it or roll it back"], None),
        (seen(LOCKED._replace(events=2, holder=Holder(9, None, None, None, None)), publishers=[IDLES]), ANSWERED,
         ["2 events are locked by pid 9, unnamed",
          "the oldest is e4; publishers skip locked rows and try them again later",
          "ask its owner to end it, or in psql", "SELECT pg_terminate_backend(9)"], None),
        (seen(dead=2, dead_groups=[TOO_LARGE._replace(events=2, error=None)]), ANSWERED,
         ["2 events are dead: no error was recorded",
          "publishers never send dead events",
          "remove the cause, then"], ("payctl replay --failed --error-group 0a1b2c3d", True, 2)),
        (seen(dead=1, dead_groups=[TOO_LARGE._replace(error="INVALID_REQUEST: no")]), ANSWERED,
         ["1 event is dead: INVALID_REQUEST: no",
          "publishers never send dead events",
          "remove the cause, then"], ("payctl replay --failed --error-group 0a1b2c3d", True, 1)),
        (seen(dead=2), ANSWERED,
         ["2 more dead events with other errors", "publishers never send dead events", None],
         ("payctl errors", False, 1)),
        (seen(SUPERSEDED, blocked=1), ANSWERED,
         ["event e5 waits behind dead event d1 of its payment",
          "a later success supersedes the dead PAYMENT_FAILED: do not replay it",
          "skip the dead failure and send the success"], ("payctl publish-outbox --on-dead release", True, 1)),
        (seen(BLOCKED, blocked=1), ANSWERED,
         ["event e5 waits behind dead event d1 of its payment",
          "an event is sent only after the earlier events of its payment", "resolve the dead event first"],
         ("payctl show d1", False, 1)),
        (seen(FAILING._replace(error=None, events=1), publishers=[IDLES]), ANSWERED,
         ["1 event has waited for 3 min, and failed: no error was recorded",
          "the oldest is e2; the publisher tries it again until it is out of retries", "look at its payment"],
         ("payctl show e2", False, 1)),
        (seen(NOT_DUE._replace(events=2, error=None, due_in_s=-3.0), publishers=[IDLES]), ANSWERED,
         ["2 events failed and wait for the next retry in 0 ms", "the last error of e3: none was recorded", None],
         ("payctl show e3", False, 1)),
        (seen(NOT_DUE._replace(due_in_s=0.4, id="e9"), NOT_DUE._replace(due_in_s=None)), ANSWERED,
         ["2 events failed and wait for the next retry in 0 ms", "the last error of e3: INVALID_REQUEST: no", None],
         ("payctl show e3", False, 1)),
        (seen(NOT_DUE._replace(due_in_s=-0.5, id="e9"), NOT_DUE._replace(due_in_s=None)), ANSWERED,
         ["2 events failed and wait for the next retry in 0 ms", "the last error of e9: INVALID_REQUEST: no", None],
         ("payctl show e9", False, 1)),
        (seen(READY, publishers=[WORKS]), ANSWERED,
         ["3 events have waited for up to 3 min; a publisher is working through them",
          "events are sent in order of creation; check that the backlog is shrinking", None],
         ("payctl stats --watch", False, 1)),
        (seen(READY, publishers=[IDLES]), ANSWERED,
         ["3 events have waited for up to 3 min, and no known cause was found",
          "host:12 was seen 20 s ago, its topics accept messages, and no row lock or dead event is in the way",
          "read the publisher's log; the oldest event is"], ("payctl show e1", False, 1)),
        (seen(READY, publishers=[IDLES._replace(ended=True)]), Brokers(not_asked="no"),
         ["3 events have waited for up to 3 min, and no known cause was found",
          f"host:12 ended 20 s ago without sending them, the brokers were not asked: no, {NOT_LOCKED}",
          "read the publisher's log; the oldest event is"], ("payctl show e1", False, 1)),
        (seen(READY, publishers=[WORKS, IDLES], newest_sent_s=1.0), None,
         ["3 events have waited for up to 3 min, and the database does not show why",
          "pid 7, payctl publish-outbox is working, and no row lock or dead event is in the way",
          "ask the brokers too"], ("payctl doctor", False, 1)),
        (seen(pending=5, oldest_s=LATE, oldest_id="e7"), None,
         ["5 events have waited for up to 3 min, and the database does not show why",
          "it is unknown whether a publisher is running, and no row lock or dead event is in the way",
          "ask the brokers too"], ("payctl doctor", False, 1)),
        (seen(pending=5, oldest_s=LATE, oldest_id="e7"), Brokers(not_asked="no"),
         ["5 events have waited for up to 3 min, and no known cause was found",
          f"it is unknown whether a publisher is running, the brokers were not asked: no, {NOT_LOCKED}",
          "read the publisher's log; the oldest event is"], ("payctl show e7", False, 1)),
    ],
)  # fmt: skip
def test_a_cause_says_what_it_means_and_which_command_helps(evidence, brokers, sentences, command):
    """Each cause has a fact, a meaning, advice and a command. The cause also says whether the command changes data."""
    (cause,) = causes(evidence, brokers)
    given = cause.command and (typed(cause.command), cause.command.changes, cause.command.rows)
    assert [cause.fact, cause.meaning, cause.advice, *([cause.sql] if cause.sql else [])] == sentences
    assert given == command


def test_the_advice_about_a_missing_publisher_depends_on_the_brokers():
    """If nobody has queried the brokers, the advice says what exit code 4 means.

    If the brokers are unavailable, the advice does not suggest publishing by hand, because that would fail too.
    """
    evidence = seen(READY, publishers=[GONE])
    (unknown,), (brokers, gone) = causes(evidence, None), causes(evidence, AWAY)
    assert unknown.advice == (
        "start the publisher again; until then, publish by hand (if that exits with 4, run payctl doctor)"
    )
    assert typed(unknown.command) == "payctl publish-outbox"
    assert (gone.advice, gone.command) == ("start the publisher again after the brokers are available", None)
    assert brokers.meaning == "3 events have waited for up to 3 min. This uses up no retries"


def test_the_finding_about_a_missing_topic_says_that_no_retries_are_used_up():
    """The finding about a missing topic names the type of the waiting events, even for a single event."""
    (cause,) = causes(seen(READY._replace(events=1), publishers=[IDLES]), NO_TOPIC)
    assert cause.meaning == "1 event has waited for 3 min, of type PAYMENT_COMPLETED. This uses up no retries"


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
    """The `backlog` cause is not reported if payctl has sent an event that is more than two minutes newer."""
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
