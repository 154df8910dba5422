"""Test the headline that no publisher is active, and the causes of events that wait without an error."""

from __future__ import annotations

import pytest

from tests.domain.evidence import (
    BLOCKED,
    CUT_OFF,
    ENDED,
    FAILING,
    GONE,
    IDLES,
    LOCKED,
    NOT_DUE,
    READY,
    WORKS,
    YOUNG,
    seen,
)
from ticketbottle_payctl.domain.causes import (
    causes,
    idle,
    without_error,
)


@pytest.mark.parametrize(
    ("evidence", "words", "expected", "activity"),
    [
        (seen(YOUNG), "no publisher is active; none has run on this database yet", False, "never_seen"),
        (seen(YOUNG, publishers=[IDLES]), "no publisher is active; last activity 20 s ago", True, "silent"),
        (seen(YOUNG._replace(requeued_s=35.0), publishers=[IDLES]),
         "no publisher is active; last activity 20 s ago", True, "silent"),
        (seen(YOUNG._replace(requeued_s=1.0), YOUNG, publishers=[IDLES]),
         "no publisher is active; last activity 20 s ago", True, "silent"),
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


@pytest.mark.parametrize(("sent", "works"), [(9.0, True), (11.0, False)])
def test_no_publisher_works_through_a_backlog_while_none_is_active(sent, works):
    """If a running publisher has sent nothing for ten seconds, no cause says that it is working through the events."""
    evidence = seen(READY, publishers=[IDLES], last_sent_s=sent, sent_lately=5)
    (cause,) = causes(evidence)
    assert ("a publisher is working through them" in cause.fact) is works
    assert (idle(evidence) is None) is works
