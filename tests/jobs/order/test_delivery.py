"""Test the verdict on a payment's event. The tests need no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.jobs.order.rows import (
    EVENT,
    FAILURE,
    MINUTE,
    PAID,
    RECEIPT,
    RUN,
    SECOND,
    START,
    TICK,
    UNPAID,
    history,
)
from ticketbottle_payctl.broker.consumers import Readers
from ticketbottle_payctl.jobs.order.judge_delivery import dead_before, dead_until, judge_delivery, tries_of
from ticketbottle_payctl.jobs.order.model import Mark, Remedy
from ticketbottle_payctl.jobs.order.records import Records
from ticketbottle_payctl.store.payments.history import Replayed


def judged(found, records, now, retention):
    """Return the only verdict on a history's events."""
    (verdict,) = judge_delivery(found, records, now, retention)
    return verdict


def delivery(found, after, *, records=None, retention=None):
    """Return the kind of the verdict on a history's event at the given time after START."""
    return judged(found, records or Records(), START + after, retention).kind


@pytest.mark.parametrize(
    ("event", "age", "expected"),
    [
        (EVENT, 2 * MINUTE, "waiting"),
        (EVENT, 2 * MINUTE + TICK, "overdue"),
        (replace(EVENT, retry_count=2), 5 * MINUTE + 10 * SECOND, "retrying"),
        (replace(EVENT, retry_count=2), 5 * MINUTE + 10 * SECOND + TICK, "overdue"),
    ],
)
def test_a_pending_event_is_overdue_after_its_time_to_be_sent(event, age, expected):
    """An event is overdue two minutes after its creation, or five minutes after its next retry is due."""
    verdict = judged(history(PAID, event), Records(), START + age, None)
    assert (verdict.kind, verdict.mark) == (expected, Mark.BAD if expected == "overdue" else Mark.OPEN)
    assert (verdict.tries, verdict.replays, verdict.at) == (event.retry_count, 0, START)
    assert verdict.due == (START + 10 * SECOND if event.retry_count else None)


def test_the_wait_of_a_requeued_event_begins_with_its_last_replay():
    """A requeued event is overdue two minutes after its last replay.

    Other kinds of runs, and replays of other events, do not count.
    """
    replays = [Replayed("e", replace(RUN, started_at=START + minutes * MINUTE), None) for minutes in (3, 5)]
    others = [Replayed("f", replace(RUN, started_at=START + 9 * MINUTE), None)]
    others.append(Replayed("e", replace(RUN, command="close", started_at=START + 9 * MINUTE), None))
    found = history(PAID, EVENT, replays=[*replays, *others])
    verdict = judged(found, Records(), START + 7 * MINUTE, None)
    assert (verdict.kind, verdict.at, verdict.replays) == ("waiting", START + 5 * MINUTE, 2)
    assert delivery(found, 7 * MINUTE + TICK) == "overdue"


def test_an_event_behind_a_failing_event_waits_for_its_retry():
    """If an earlier event of the payment has failed, a pending event waits for the retry of the first such event."""
    failing = replace(FAILURE, retry_count=1, created_at=START)
    later = replace(failing, id="g", retry_count=3)
    event = replace(EVENT, created_at=START + SECOND)
    verdict = judged(history(PAID, failing, later, event), Records(), START + 2 * MINUTE, None)
    assert (verdict.kind, verdict.blocked_by, verdict.tries, verdict.due) == ("behind", failing, 1, START + 5 * SECOND)
    sent = replace(failing, state="published", published_at=START)
    assert judged(history(PAID, sent, event), Records(), START + MINUTE, None).blocked_by is None
    found = history(PAID, replace(failing, retry_count=0), event)
    assert judged(found, Records(), START + MINUTE, None).kind == "waiting"


def test_only_a_dead_event_before_it_blocks_a_pending_event():
    """A pending event is blocked by the first dead event before it, but not by a dead event after it."""
    dead = replace(FAILURE, state="dead", retry_count=5, last_error="INVALID_REQUEST: no")
    after = replace(dead, id="after")
    assert dead_before(EVENT, (dead, replace(dead, id="second"), EVENT, after)) == dead
    assert dead_before(EVENT, (EVENT, after)) is None
    assert dead_before(replace(EVENT, state="published"), (dead, replace(EVENT, state="published"))) is None
    assert dead_until(after, (dead, EVENT, after, replace(dead, id="last"))) == [dead, after]
    assert (tries_of(dead), tries_of(replace(dead, last_error="MSG_SIZE_TOO_LARGE: no"))) == (5, 1)
    assert tries_of(replace(dead, state="pending", last_error="MSG_SIZE_TOO_LARGE: no")) == 5
    blocked = judged(history(PAID, dead, EVENT), Records(), START, None)
    assert (blocked.kind, blocked.blocked_by, blocked.tries) == ("blocked", dead, 5)


@pytest.mark.parametrize(
    ("payment", "after", "expected"),
    [
        (PAID, 7 * MINUTE, ("no_event", "bad", True)),
        (PAID, 7 * MINUTE + TICK, ("past_retention", "open", True)),
        (replace(UNPAID, status="FAILED", failed_at=START), 7 * MINUTE, ("no_event", "open", False)),
        (replace(UNPAID, status="CANCELLED", cancelled_at=START), 8 * MINUTE, ("past_retention", "open", False)),
        (replace(PAID, completed_at=None), 7 * MINUTE, ("no_event", "bad", True)),
    ],
)
def test_a_payment_without_an_event_is_open_until_the_retention_has_passed(payment, after, expected):
    """If an event is missing within the retention period, payctl reports it as never written.

    After that period, a cleanup might have deleted it.
    """
    verdict = judged(history(payment), Records(), START + after, 7 * MINUTE)
    assert (verdict.kind, verdict.mark, verdict.ticket_is_due, verdict.at) == (*expected, START)
    others = [replace(RECEIPT, outcome="IGNORED"), replace(RECEIPT, outcome=payment.status, event_id=None)]
    assert delivery(history(payment, receipts=others), after, retention=7 * MINUTE) == expected[0]
    receipts = [replace(RECEIPT, outcome=payment.status)]
    assert delivery(history(payment, receipts=receipts), after, retention=7 * MINUTE) == "cleaned_up"


LATE = replace(PAID, failed_at=PAID.completed_at - TICK)


@pytest.mark.parametrize(
    ("payment", "after", "expected"),
    [
        (LATE, timedelta(0), ("published", 0 * TICK)),
        (LATE, TICK, ("released_after_success", TICK)),
        (PAID, -TICK, ("failed_before_success", 0 * TICK)),
        (PAID, TICK, ("released_after_success", TICK)),
        (replace(PAID, failed_at=PAID.completed_at), -TICK, ("failed_before_success", 0 * TICK)),
        (replace(PAID, cancelled_at=PAID.completed_at - TICK), -TICK, ("published", 0 * TICK)),
    ],
)
def test_a_sent_failure_of_a_paid_order_is_a_finding(payment, after, expected):
    """The order service acts on a failure in any state, and refuses a success after a failure.

    If the payment failed before it was completed, a failure before the success is late money, which is another finding.
    """
    sent = replace(EVENT, state="published", published_at=START + MINUTE)
    failure = replace(FAILURE, state="published", superseded=True, published_at=START + MINUTE + after)
    verdict = judged(history(payment, failure, sent), Records(), START + MINUTE, None)
    assert (verdict.kind, verdict.at - START - MINUTE) == expected
    unsent = replace(failure, state="dead", published_at=None)
    assert delivery(history(payment, unsent, sent), MINUTE) == "published"


@pytest.mark.parametrize(
    ("payment", "failure_is_later", "expected"),
    [
        (LATE, False, "published"),
        (LATE, True, "published"),
        (PAID, False, "failed_before_success"),
        (PAID, True, "released_after_success"),
    ],
)
def test_the_events_of_one_claim_were_sent_in_their_order(payment, failure_is_later, expected):
    """If one claim marked both events, their order says which one was sent first, and not their times."""
    sent = replace(EVENT, state="published", published_at=START + MINUTE, version=7)
    created = sent.created_at + (TICK if failure_is_later else -TICK)
    failure = replace(FAILURE, state="published", superseded=True, created_at=created, published_at=START, version=7)
    events = (sent, failure) if failure_is_later else (failure, sent)
    assert delivery(history(payment, *events), MINUTE) == expected


def test_the_last_failure_that_was_sent_after_the_success_is_named():
    """If several failures were sent, the finding names the last one. Cancellations do not count."""
    sent = replace(EVENT, state="published", published_at=START + MINUTE)
    failure = replace(FAILURE, state="published", superseded=True, published_at=START + MINUTE + TICK)
    last = replace(failure, id="last", published_at=START + 2 * MINUTE)
    verdict = judged(history(PAID, failure, last, sent), Records(), START + MINUTE, None)
    assert (verdict.event, verdict.at) == (last, START + 2 * MINUTE)
    assert delivery(history(PAID, replace(failure, superseded=False), sent), MINUTE) == "published"
    assert delivery(history(PAID, replace(failure, event_type="PAYMENT_CANCELLED"), sent), MINUTE) == "published"


@pytest.mark.parametrize(
    ("event", "readers", "expected"),
    [
        (EVENT, None, ("published", "good", None, ())),
        (EVENT, Readers(past=(), behind=()), ("unread", "open", (), ())),
        (EVENT, Readers(past=(), behind=("b",)), ("unread", "open", (), ("b",))),
        (EVENT, Readers(past=("a",), behind=("b",)), ("published", "good", ("a",), ("b",))),
        (FAILURE, Readers(past=(), behind=("b",)), ("ended", "good", (), ("b",))),
        (replace(EVENT, event_type="REFUND"), None, ("published", "good", None, ())),
    ],
)
def test_a_published_event_is_unread_if_no_consumer_group_has_read_it(event, readers, expected):
    """If no consumer group has read a success event, payctl reports a finding.

    If the brokers gave no answer, the event counts as published.
    """
    sent = replace(event, state="published", published_at=START)
    records = Records(readers={} if readers is None else {event.id: readers})
    verdict = judged(history(None, sent), records, START, None)
    assert (verdict.kind, verdict.mark, verdict.readers, verdict.behind) == expected
    assert verdict.remedy == (Remedy.WATCH_READER if verdict.kind == "unread" else None)
    missing = judged(history(None, sent), Records(missing={event.id}), START, None)
    assert (missing.kind, missing.mark) == ("not_in_kafka", "open")


def test_the_event_of_the_payment_s_status_decides_and_otherwise_the_last_one():
    """The verdict is about the event that reports the payment's status.

    If the payment is PENDING or does not exist, the verdict is about the last event.
    """
    older = replace(FAILURE, state="dead", retry_count=5)
    for payment in (UNPAID, None):
        verdict = judged(
            history(payment, older, replace(EVENT, event_type="PAYMENT_CANCELLED")), Records(), START, None
        )
        assert (verdict.kind, verdict.event.id, verdict.ticket_is_due) == ("blocked", "e", False)
    failed = replace(UNPAID, status="FAILED", failed_at=START)
    assert judged(history(failed, older, EVENT), Records(), START, None).event == older
    sent = replace(EVENT, id="sent", state="published", published_at=START)
    assert judged(history(PAID, sent, EVENT), Records(), START, None).event == sent
