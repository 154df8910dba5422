"""Test the causes for events that failed, with and without using up a retry, and for the events behind them."""

from __future__ import annotations

import pytest

from tests.domain.evidence import (
    ANSWERED,
    AWAY,
    BEHIND,
    CUT_OFF,
    FAILING,
    GONE,
    IDLES,
    NO_TOPIC,
    NOT_DUE,
    READY,
    UNANSWERED,
    WORKS,
    seen,
    typed,
)
from ticketbottle_payctl.domain.causes import Brokers, causes, idle, without_error

TIMED_OUT = "_MSG_TIMED_OUT: Local: Message timed out"


@pytest.mark.parametrize(
    ("waiting", "fact", "events", "command"),
    [
        ([FAILING, BEHIND], "2 events have waited for up to 3 min, and failed: {}; 1 more event waits behind them", 3,
         "payctl show e2"),
        ([FAILING._replace(events=1), BEHIND._replace(events=1200)],
         "1 event has waited for 3 min, and failed: {}; 1,200 more events wait behind it", 1201, "payctl show e2"),
        ([NOT_DUE, BEHIND], "1 event failed and waits for the next retry in 1 min 35 s; 1 more event waits behind it",
         2, "payctl show e3"),
        ([BEHIND], "1 event has waited for 3 min behind a failed event of its payment: {}", 1, "payctl show e6"),
        ([BEHIND._replace(events=2)], "2 events have waited for up to 3 min behind a failed event of their payment: {}",
         2, "payctl show e6"),
    ],
)  # fmt: skip
def test_an_event_behind_a_failed_one_does_not_count_as_failed(waiting, fact, events, command):
    """Only events that failed themselves count as failed. The events behind them are counted once, separately."""
    (cause,) = causes(seen(*waiting, publishers=[IDLES]), ANSWERED)
    assert (cause.fact, cause.events) == (fact.format("INVALID_REQUEST: no"), events)
    assert typed(cause.command) == command


def test_the_events_behind_failed_ones_are_named_once():
    """If some events keep failing and others wait for their retry, only one cause counts the events behind them."""
    facts = [cause.fact for cause in causes(seen(FAILING, NOT_DUE, BEHIND, publishers=[IDLES]), ANSWERED)]
    assert ["behind" in fact for fact in facts] == [True, False]


@pytest.mark.parametrize(
    ("brokers", "advice", "command"),
    [
        (None, "check that the brokers run and can be reached", "payctl doctor --only kafka --only backlog"),
        (Brokers(not_asked="no"), "check that the brokers run and can be reached",
         "payctl doctor --only kafka --only backlog"),
        (ANSWERED, "this machine reaches the brokers; read the publisher's log, and look at the event",
         "payctl show e7"),
    ],
)  # fmt: skip
def test_an_attempt_without_an_answer_used_up_no_retry(brokers, advice, command):
    """If the brokers did not answer the last attempt, the cause says so, and says that no retry was used up."""
    (cause,) = causes(seen(UNANSWERED, publishers=[IDLES]), brokers)
    fact = f"2 events have waited for up to 3 min; the last attempt failed, but used up no retry: {TIMED_OUT}"
    assert (cause.kind, cause.fact, cause.events) == ("failing", fact, 2)
    assert cause.meaning == "the oldest failed one is e7; host:12 was seen 20 s ago"
    assert (cause.advice, typed(cause.command)) == (advice, command)


def test_events_that_wait_for_the_same_brokers_are_one_cause():
    """Events without an attempt are part of the cause, which says how many events were tried."""
    (cause,) = causes(seen(UNANSWERED, READY, publishers=[IDLES]), ANSWERED)
    which = "the last attempt for 2 of them failed, but used up no retry"
    assert (cause.fact, cause.events) == (f"5 events have waited for up to 3 min; {which}: {TIMED_OUT}", 5)


@pytest.mark.parametrize(
    ("evidence", "brokers", "kinds"),
    [
        (seen(UNANSWERED, READY, publishers=[WORKS]), ANSWERED, ["failing", "backlog"]),
        (seen(UNANSWERED, publishers=[GONE]), None, ["no_publisher"]),
        (seen(UNANSWERED, publishers=[CUT_OFF]), None, ["brokers"]),
        (seen(UNANSWERED, publishers=[IDLES]), AWAY, ["brokers"]),
        (seen(UNANSWERED, publishers=[IDLES]), NO_TOPIC, ["topic"]),
        (seen(UNANSWERED, slot_active=True), ANSWERED, ["debezium"]),
        (seen(UNANSWERED._replace(oldest_s=60.0), publishers=[IDLES]), ANSWERED, []),
    ],
)
def test_another_cause_comes_before_an_attempt_without_an_answer(evidence, brokers, kinds):
    """If the brokers, the topic or a missing publisher explain why events wait, the last attempt is not a cause."""
    assert [cause.kind for cause in causes(evidence, brokers)] == kinds


def test_an_event_without_a_used_retry_waits_for_a_publisher():
    """If the last attempt to send events used up no retry, the events count as waiting without an error.

    For such events, `idle` also reports that no publisher is active.
    """
    evidence = seen(UNANSWERED, publishers=[GONE])
    assert (without_error(evidence), idle(evidence) is None) == ((2, True, False), False)
