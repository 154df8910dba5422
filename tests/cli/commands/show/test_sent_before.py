"""Test that a customer counts as waiting if a sent event was requeued, because its message may be lost."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
_LONG_AGO = "UPDATE payctl.runs SET started_at = started_at - interval '1 hour'"
JUST_NOW = r"(just now|\d s ago)"
AGAIN = ("-y", "--allow-published", "--reason", "the order has no ticket")


@pytest.fixture
def requeued(orders, ask):
    """Return a function that requeues the order's sent success event, which is its last event by default."""

    def run(number=-1):
        document = ask("replay", orders.events[number], *AGAIN)
        assert document["counts"]["already_published"] == 1
        return orders.events[number]

    return run


def waiting(ask):
    """Return how many customers wait according to `payctl report`."""
    return ask("report")["result"]["customers_without_ticket"]


def test_the_customer_of_a_requeued_event_may_wait(orders, shown, requeued, ask, invoke, database_url):
    """`show` says that the event was sent before and waits to be sent again. The exit code is 5.

    `report` counts the customer.
    """
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR)
    event = requeued()
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["mark"]) == (5, "waiting", "open")
    said = rf"MAYBE NO TICKET: requeued {JUST_NOW} after it had been sent; waits to be sent again"
    assert re.fullmatch(said, found.verdict["text"])
    assert found.verdict["sent_before"] is not None
    assert found.commands == ["payctl publish-outbox"]
    assert invoke("show", event, DATABASE_URL=database_url).exit_code == 5
    assert waiting(ask) == 1


def test_no_customer_waits_for_a_requeued_failure(orders, shown, requeued, ask):
    """`show` says that the tickets may still be reserved, because the requeued event reports a failure."""
    orders.pay("FAILED").event("FAILED", "published", age=2 * HOUR)
    requeued()
    found = shown()
    assert (found.exit_code, found.verdict["kind"]) == (5, "waiting")
    assert re.match(rf"TICKETS MAYBE STILL RESERVED: requeued {JUST_NOW} after it had been sent", found.verdict["text"])
    assert waiting(ask) == 0


def test_an_event_that_was_never_sent_still_keeps_the_customer_waiting(orders, shown, ask):
    """If a replay requeued a dead event that was never sent, the customer has no ticket yet."""
    orders.pay("COMPLETED").event(state="dead", age=2 * HOUR)
    assert ask("replay", orders.events[0], *AGAIN)["counts"]["requeued"] == 1
    found = shown()
    assert (found.exit_code, found.verdict["sent_before"]) == (5, None)
    assert found.verdict["text"].startswith("NO TICKET YET: requeued")
    assert waiting(ask) == 1


def test_a_requeued_event_that_nobody_sends_is_overdue(orders, shown, requeued, execute, ask):
    """If a requeued event has not been sent for an hour, `show` marks it as bad, and `report` counts its customer."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR)
    requeued()
    execute(_LONG_AGO)
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["mark"]) == (5, "overdue", "bad")
    said = "MAYBE NO TICKET: requeued 1 h ago after it had been sent, and not sent again yet"
    assert found.verdict["text"].startswith(said)
    assert waiting(ask) == 1


def test_a_requeued_event_behind_a_dead_one_is_blocked(orders, shown, requeued, ask):
    """If a requeued event waits behind a dead event, `show` names the dead event.

    `report` and `stats` count the order.
    """
    orders.pay("COMPLETED").event("CANCELLED", "dead", age=3 * HOUR).event(state="published", age=2 * HOUR)
    requeued()
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["mark"]) == (5, "blocked", "bad")
    assert found.verdict["text"].startswith("MAYBE NO TICKET: blocked by dead event")
    assert waiting(ask) == 1
    assert "no_ticket" in [each["cause"] for each in ask("stats")["result"]["causes"]]


def test_a_requeued_event_that_died_is_dead(orders, shown, requeued, execute, ask, mock_kafka):
    """If the requeued event died, all screens say that the customer waits. `show` advises a replay."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR)
    event = requeued()
    execute('UPDATE outbox SET "retryCount" = 5')
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["mark"]) == (5, "dead", "bad")
    assert found.verdict["text"].startswith("NO TICKET: ")
    assert any(each.startswith("payctl replay") for each in found.commands)
    assert found.document["result"]["repeated"] == []
    assert (waiting(ask), ask("stats", "--check")["exit_code"], ask("stats")["result"]["superseded"]) == (1, 5, 0)
    assert ask("errors")["items"][0]["close"] == ""
    assert ask("publish-outbox", KAFKA_BROKERS=mock_kafka.bootstrap)["exit_code"] == 6
    assert ask("close", event, "-y", "--reason", "has the ticket")["exit_code"] == 7


def test_no_success_is_harmless_after_the_sent_one_was_requeued(orders, shown, requeued, ask):
    """If the sent event of a payment with two success events was requeued, neither of them counts as harmless."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR).event(state="dead", age=HOUR)
    requeued(0)
    found = shown()
    assert (found.exit_code, found.document["result"]["repeated"]) == (5, [])
    assert waiting(ask) == 1


def test_a_closed_event_does_not_hide_a_requeued_success(orders, shown, requeued, ask):
    """If a person closed the dead event before the sent one was requeued, the verdict is about the requeued event."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR).event(state="dead", age=HOUR)
    assert ask("close", orders.events[1], "-y", "--reason", "has the ticket")["counts"] == {"closed": 1}
    requeued(0)
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["event_id"]) == (5, "waiting", orders.events[0])
    assert waiting(ask) == 1


def test_late_money_cannot_be_closed_before_its_event_is_sent_again(orders, requeued, ask):
    """While a sent event waits to be sent again, a finding about late money stays open."""
    orders.pay("COMPLETED", ended={"FAILED": 3 * HOUR}).event(state="published", age=2 * HOUR)
    requeued()
    assert ask("close", orders.name, "-y", "--reason", "has the seats")["exit_code"] == 7
