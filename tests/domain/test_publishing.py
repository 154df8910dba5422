"""Test that every screen says in the same words whether a publisher is running, and names the same cause."""

from __future__ import annotations

import pytest

from tests.domain.evidence import (
    ANSWERED,
    AWAY,
    BEHIND,
    CUT_OFF,
    ENDED,
    FAILING,
    GONE,
    IDLES,
    LATE,
    LOCKED,
    NO_TOPIC,
    NOT_LOCKED,
    READY,
    UNANSWERED,
    WORKS,
    YOUNG,
    seen,
    typed,
)
from ticketbottle_payctl.domain.causes import WAITS_AFTER, Activity, causes, publishing, publishing_of

NEXT_RUN = "a scheduled one starts again within a minute"
FAILED_TO_START = CUT_OFF._replace(ended=True)
REQUEUED = READY._replace(requeued_s=5.0)


@pytest.mark.parametrize(
    ("publishers", "known", "activity", "running", "words"),
    [
        ([], True, "never_seen", False, "no publisher is running; none has ever been seen"),
        ([], False, "unknown", None, "it is unknown whether a publisher is running"),
        ([WORKS], True, "running", True, "a publisher is running"),
        ([IDLES], True, "running", True, "a publisher is running"),
        ([IDLES, ENDED._replace(seconds=3.0)], True, "running", True, "a publisher is running"),
        ([ENDED], True, "between_runs", False, f"the last publisher ended 20 s ago; {NEXT_RUN}"),
        ([ENDED._replace(seconds=89.9)], True, "between_runs", False,
         f"the last publisher ended 1 min 30 s ago; {NEXT_RUN}"),
        ([ENDED._replace(seconds=90.0)], True, "gone", False,
         "no publisher is running; the last one ended 1 min 30 s ago"),
        ([GONE], True, "gone", False, "no publisher is running; the last one was seen 12 min ago"),
        ([CUT_OFF], True, "without_brokers", True, "the last publisher could not reach its brokers 4 s ago"),
        ([CUT_OFF, IDLES], True, "without_brokers", True, "the last publisher could not reach its brokers 4 s ago"),
        ([FAILED_TO_START], True, "without_brokers", False, "the last publisher could not reach its brokers 4 s ago"),
        ([FAILED_TO_START._replace(seconds=90.0)], True, "gone", False,
         "no publisher is running; the last one ended 1 min 30 s ago"),
        ([ENDED._replace(seconds=3.0), CUT_OFF], True, "between_runs", False,
         f"the last publisher ended 3 s ago; {NEXT_RUN}"),
        ([ENDED._replace(seconds=3.0), CUT_OFF, IDLES], True, "running", True, "a publisher is running"),
        ([CUT_OFF, WORKS], True, "running", True, "a publisher is running"),
        ([CUT_OFF, IDLES._replace(seconds=1.0)], True, "running", True, "a publisher is running"),
    ],
)  # fmt: skip
def test_the_last_sign_of_a_publisher_decides_whether_one_is_running(publishers, known, activity, running, words):
    """An ended publisher does not count as running, but its next run may follow within 90 seconds."""
    found = publishing(publishers, known=known)
    assert (found.activity, found.running, found.words) == (activity, running, words)


@pytest.mark.parametrize(
    ("evidence", "brokers", "expected"),
    [
        (seen(READY, publishers=[ENDED]), None, ["unknown"]),
        (seen(REQUEUED, publishers=[ENDED]), None, ["between_runs"]),
        (seen(REQUEUED, publishers=[ENDED]), ANSWERED, ["between_runs"]),
        (seen(REQUEUED._replace(requeued_s=20.0), publishers=[ENDED]), None, ["unknown"]),
        (seen(REQUEUED, READY, publishers=[ENDED]), None, ["unknown"]),
        (seen(REQUEUED, publishers=[ENDED], slot_active=False), None, ["debezium"]),
        (seen(REQUEUED, publishers=[ENDED]), NO_TOPIC, ["topic"]),
        (seen(REQUEUED, LOCKED, publishers=[ENDED]), None, ["between_runs", "row_lock"]),
        (seen(REQUEUED, publishers=[GONE._replace(ended=True)]), None, ["no_publisher"]),
        (seen(READY, publishers=[ENDED], sent_lately=9, newest_sent_s=LATE), None, ["between_runs"]),
        (seen(READY, publishers=[ENDED], sent_lately=9, newest_sent_s=1.0), None, ["unknown"]),
        (seen(REQUEUED, publishers=[IDLES]), None, ["rescan"]),
        (seen(REQUEUED, publishers=[IDLES]), ANSWERED, ["rescan"]),
        (seen(REQUEUED, publishers=[IDLES], sent_lately=9, newest_sent_s=LATE), None, ["rescan"]),
        (seen(REQUEUED, publishers=[WORKS]), None, ["rescan"]),
        (seen(REQUEUED, READY, publishers=[IDLES], sent_lately=9, newest_sent_s=LATE), None, ["backlog"]),
        (seen(REQUEUED._replace(requeued_s=36.0), publishers=[IDLES]), None, ["unknown"]),
        (seen(REQUEUED, READY, publishers=[IDLES]), None, ["unknown"]),
        (seen(REQUEUED, publishers=[IDLES]), NO_TOPIC, ["topic"]),
        (seen(REQUEUED, publishers=[CUT_OFF]), None, ["brokers"]),
        (seen(REQUEUED, publishers=[GONE]), None, ["no_publisher"]),
        (seen(REQUEUED, publishers=[IDLES], slot_active=True), None, ["debezium"]),
        (seen(FAILING, publishers=[ENDED]), None, ["failing"]),
        (seen(READY, publishers=[CUT_OFF]), None, ["brokers"]),
        (seen(READY, publishers=[FAILED_TO_START]), None, ["brokers"]),
        (seen(READY, publishers=[CUT_OFF]), AWAY, ["brokers"]),
        (seen(READY, publishers=[CUT_OFF]), ANSWERED, ["brokers"]),
        (seen(READY, publishers=[CUT_OFF], sent_lately=9, newest_sent_s=LATE, last_sent_s=9.0), None, ["brokers"]),
        (seen(READY, publishers=[CUT_OFF], sent_lately=9, newest_sent_s=LATE, last_sent_s=1.0), None, ["backlog"]),
        (seen(READY, publishers=[CUT_OFF._replace(seconds=90.0)]), None, ["no_publisher"]),
        (seen(READY, publishers=[CUT_OFF], slot_active=True), None, ["debezium"]),
    ],
)
def test_the_end_of_a_publisher_and_its_brokers_decide_the_cause(evidence, brokers, expected):
    """An event that is newer than the last run waits for the next run.

    A requeued event waits until the running publisher's next rescan. If the last run has not sent an older event, the
    cause is unknown. If the publisher cannot reach its brokers, the brokers are the cause, unless an event has been
    sent since.
    """
    assert [cause.kind for cause in causes(evidence, brokers)] == expected


COMPARE = "read its log, and compare its KAFKA_ variables and its network with those of this machine"
WAITED = "3 events have waited for up to 3 min"
NOT_LOST = "Nothing is lost: a scheduled publisher starts again within a minute"
SINCE = "3 events are waiting (the oldest, written 3 min ago, has waited for 5 s since its replay)"
NO_BROKERS = "publisher host:12 could not reach its brokers 4 s ago: Kafka at b:9092 is not available"


@pytest.mark.parametrize(
    ("evidence", "brokers", "sentences", "command"),
    [
        (seen(REQUEUED, publishers=[ENDED]), None,
         ["no publisher is running: host:12 ended 20 s ago", f"{SINCE}. {NOT_LOST}",
          "wait for the next scheduled run; if none is scheduled, publish by hand"], "payctl publish-outbox"),
        (seen(REQUEUED, publishers=[IDLES]), ANSWERED,
         [SINCE, "a running publisher looks at old events every 30 s, and then sends them", None],
         "payctl stats --watch"),
        (seen(READY, publishers=[ENDED]), None,
         [f"{WAITED}, and the database does not show why",
          "host:12 ended 20 s ago without sending the events, and no row lock or dead event is in the way",
          "ask the brokers too"], "payctl doctor"),
        (seen(READY, publishers=[ENDED]), ANSWERED,
         [f"{WAITED}, and no known cause was found",
          f"host:12 ended 20 s ago without sending the events, its topics accept messages, {NOT_LOCKED}",
          "publish by hand; the first line says why"], "payctl publish-outbox"),
        (seen(READY, publishers=[CUT_OFF]), None,
         [NO_BROKERS, f"{WAITED}. This uses up no retries", "check that the brokers run and can be reached"],
         "payctl doctor --only kafka --only backlog"),
        (seen(READY, publishers=[CUT_OFF]), ANSWERED,
         [NO_BROKERS, f"{WAITED}. This uses up no retries",
          f"this machine reaches the brokers; if host:12 keeps failing, {COMPARE}"], None),
        (seen(READY, publishers=[FAILED_TO_START]), ANSWERED,
         [NO_BROKERS, f"{WAITED}. This uses up no retries",
          "the brokers answer now; wait for the next scheduled run; if none is scheduled, publish by hand"],
         "payctl publish-outbox"),
        (seen(READY, publishers=[FAILED_TO_START._replace(seconds=720.0)]), None,
         ["no publisher has been seen for 12 min; the last one was host:12, which could not reach its brokers",
          f"{WAITED}. Nothing is lost: a publisher sends all waiting events when it runs",
          "start the publisher again; until then, publish by hand (if that exits with 4, run payctl doctor)"],
         "payctl publish-outbox"),
    ],
)  # fmt: skip
def test_a_cause_says_what_the_last_publisher_did(evidence, brokers, sentences, command):
    """The cause says when the last publisher ended or could not reach its brokers, and what to do."""
    (cause,) = causes(evidence, brokers)
    assert [cause.fact, cause.meaning, cause.advice] == sentences
    assert (cause.command and typed(cause.command)) == command


def test_a_publisher_without_brokers_is_running_until_it_ends():
    """A publisher that waits for its brokers is running. A publisher that gave up is not running."""
    waits, gave_up = (publishing([one], known=True) for one in (CUT_OFF, FAILED_TO_START))
    assert (waits.activity, gave_up.activity) == (Activity.WITHOUT_BROKERS,) * 2
    assert (waits.running, gave_up.running) == (True, False)


@pytest.mark.parametrize(
    ("waiting", "publisher", "activity"),
    [
        (YOUNG, IDLES, "silent"),
        (UNANSWERED, IDLES, "silent"),
        (YOUNG, IDLES._replace(seconds=9.0), "silent"),
        (YOUNG, IDLES._replace(seconds=0.5), "running"),
        (UNANSWERED, IDLES._replace(seconds=0.5), "running"),
        (YOUNG._replace(oldest_s=WAITS_AFTER.total_seconds()), IDLES, "running"),
        (FAILING, IDLES, "running"),
        (BEHIND, IDLES, "running"),
        (YOUNG, WORKS, "running"),
    ],
)
def test_an_idle_publisher_is_silent_only_if_it_can_send_an_event_and_was_not_seen_just_now(
    waiting, publisher, activity
):
    """An idle publisher that was seen less than five seconds ago is running, even if an event waits.

    An event that has failed shows nothing about the publisher. The publisher counts the pause before the next try from
    the failure, and the evidence counts it from the creation of the event.
    """
    assert publishing_of(seen(waiting, publishers=[publisher])).activity == activity
