"""Test that no screen says that a customer waits for an event that was sent and that a replay has requeued since."""

from __future__ import annotations

from datetime import timedelta

import pytest

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
_LONG_AGO = "UPDATE payctl.runs SET started_at = started_at - interval '1 hour'"
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
    """Return how many customers wait, by `payctl report`."""
    return ask("report")["result"]["customers_without_ticket"]


def test_a_requeued_event_was_sent_already(orders, shown, requeued, ask, invoke, database_url):
    """`show` says that the event was sent and waits to be sent again.

    The exit code is 0, and `report` counts no customer.
    """
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR)
    event = requeued()
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["mark"]) == (0, "waiting", "good")
    assert found.verdict["text"] == "ALREADY SENT: requeued just now, waits to be sent again"
    assert found.verdict["sent_before"] is not None
    assert found.commands == ["payctl publish-outbox"]
    assert invoke("show", event, DATABASE_URL=database_url).exit_code == 0
    assert waiting(ask) == 0


def test_an_event_that_was_never_sent_still_keeps_the_customer_waiting(orders, shown, ask):
    """If a replay requeued a dead event that was never sent, the customer has no ticket yet."""
    orders.pay("COMPLETED").event(state="dead", age=2 * HOUR)
    assert ask("replay", orders.events[0], *AGAIN)["counts"]["requeued"] == 1
    found = shown()
    assert (found.exit_code, found.verdict["sent_before"]) == (5, None)
    assert found.verdict["text"].startswith("NO TICKET YET: requeued")
    assert waiting(ask) == 1


def test_a_requeued_event_that_nobody_sends_is_still_open(orders, shown, requeued, execute, ask):
    """If the requeued event was not sent for a long time, `show` exits with 5, but the customer has the ticket."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR)
    requeued()
    execute(_LONG_AGO)
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["mark"]) == (5, "overdue", "open")
    assert found.verdict["text"].startswith("ALREADY SENT: requeued 1 h ago, and not sent again yet")
    assert waiting(ask) == 0


def test_a_requeued_event_behind_a_dead_one_is_still_open(orders, shown, requeued, ask):
    """If the requeued event waits behind a dead event, `show` names the dead one, but the customer has the ticket."""
    orders.pay("COMPLETED").event("CANCELLED", "dead", age=3 * HOUR).event(state="published", age=2 * HOUR)
    requeued()
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.verdict["mark"]) == (5, "blocked", "open")
    assert found.verdict["text"].startswith("ALREADY SENT: blocked by dead event")
    assert waiting(ask) == 0
    assert "no_ticket" not in [each["cause"] for each in ask("stats")["result"]["causes"]]


def test_a_requeued_event_that_died_is_harmless(orders, shown, requeued, execute, ask):
    """If the requeued event died, all screens say that it is harmless, and `close` closes it."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR)
    event = requeued()
    execute('UPDATE outbox SET "retryCount" = 5')
    found = shown()
    assert (found.exit_code, found.verdict["kind"], found.commands) == (0, "published", [])
    assert [each["id"] for each in found.document["result"]["repeated"]] == [event]
    assert (waiting(ask), ask("stats")["result"]["superseded"]) == (0, 1)
    assert ask("close", event, "-y", "--reason", "has the ticket")["counts"] == {"closed": 1}
    assert (shown().exit_code, ask("stats")["result"]["closed"]) == (0, 1)


def test_a_requeued_twin_comes_before_the_dead_event_in_the_verdict(orders, shown, requeued, ask):
    """If the sent event of a payment with two success events was requeued, the verdict is about this event."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR).event(state="dead", age=HOUR)
    requeued(0)
    found = shown()
    assert (found.exit_code, found.verdict["event_id"]) == (0, orders.events[0])
    assert [each["id"] for each in found.document["result"]["repeated"]] == [orders.events[1]]
    assert waiting(ask) == 0


def test_late_money_can_be_closed_while_its_sent_event_waits_to_be_sent_again(orders, requeued, ask):
    """A finding about late money can be closed, because the success event was sent before it was requeued."""
    orders.pay("COMPLETED", ended={"FAILED": 3 * HOUR}).event(state="published", age=2 * HOUR)
    requeued()
    assert ask("close", orders.name, "-y", "--reason", "has the seats")["counts"] == {"closed": 1}
