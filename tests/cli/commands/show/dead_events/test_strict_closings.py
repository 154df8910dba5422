"""Test that a closed dead event never hides a waiting customer, even if the payment or an event changes later."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR, WHY

pytestmark = pytest.mark.postgres
ODD = "?PAYMENT_NOTED"
ERROR = "UNKNOWN_EVENT_TYPE: no topic is known for this event type"
COMPLETED = """UPDATE payments SET status = 'COMPLETED', "completedAt" = now() AT TIME ZONE 'UTC'"""
CORRECTED = """UPDATE outbox SET "eventType" = 'PAYMENT_COMPLETED' WHERE "eventType" = '?PAYMENT_NOTED'"""
CLEANED_UP = "DELETE FROM outbox WHERE published"
LOST = """UPDATE outbox SET published = false, "publishedAt" = NULL, "retryCount" = 5 WHERE published"""


def odd(order):
    """Insert a dead event of an unknown type."""
    return order.event(ODD, "dead", error=ERROR)


@pytest.fixture
def screens(orders, ask, mock_kafka):
    """Return a function that returns what each command says about the order."""

    def read():
        shown = ask("show", orders.name)
        found = shown["result"]
        return SimpleNamespace(
            bad={each["kind"] for each in (found["verdict"], *found["also"]) if each["mark"] == "bad"},
            exits=(
                shown["exit_code"],
                ask("stats", "--check")["exit_code"],
                ask("publish-outbox", KAFKA_BROKERS=mock_kafka.bootstrap)["exit_code"],
            ),
            customers=ask("report")["result"]["customers_without_ticket"],
            closed=ask("errors")["counts"]["closed"],
        )

    return read


# how to insert the order, the statement after the closing, the kinds of bad findings, the exit codes, the number of
# waiting customers, and the number of closed events
OPEN = {
    "failed, completed later": (lambda o: odd(o.pay("FAILED")), COMPLETED, {"unknown_type"}, (5, 5, 6), 1, 0),
    "cancelled, completed later": (lambda o: odd(o.pay("CANCELLED")), COMPLETED, {"unknown_type"}, (5, 5, 6), 1, 0),
    "failed, then corrected": (lambda o: odd(o.pay("FAILED")), f"{COMPLETED}; {CORRECTED}", {"dead"}, (5, 5, 6), 1, 0),
    "sent and lost, then corrected": (
        lambda o: odd(o.pay("COMPLETED").event(state="published", age=2 * HOUR)),
        f"{LOST}; {CORRECTED}", {"dead"}, (5, 5, 6), 1, 0),
    "sent and lost": (
        lambda o: odd(o.pay("COMPLETED").event(state="published", age=2 * HOUR)), LOST, {"dead"}, (5, 5, 6), 1, 1),
    "repeated, the sent one was lost": (
        lambda o: o.pay("COMPLETED").event(state="dead").event(state="published", age=2 * HOUR),
        LOST, {"dead"}, (5, 5, 6), 1, 1),
    "cleaned up without a receipt": (
        lambda o: odd(o.pay("COMPLETED").event(state="published", age=2 * HOUR)),
        CLEANED_UP, {"no_event"}, (5, 0, 0), 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_a_closing_does_not_hide_a_customer(name, orders, close, execute, screens):
    """If the payment or one of its events changes after the closing, `show` and `report` report the customer."""
    insert, change, *expected = OPEN[name]
    insert(orders)
    event = next(each for each in orders.events if each not in execute("SELECT id FROM outbox WHERE published"))
    assert close(event)["counts"] == {"closed": 1}
    before = screens()
    assert (before.bad, before.exits[1:], before.customers, before.closed) == (set(), (0, 0), 0, 1)
    execute(change)
    found = screens()
    assert [found.bad, found.exits, found.customers, found.closed] == expected


@pytest.mark.parametrize("status", ["PENDING", "COMPLETED"])
def test_an_event_whose_payment_may_need_it_is_not_closed(status, orders, ask):
    """If the payment is PENDING, or COMPLETED without a sent success event, `payctl close EVENT` exits with 7."""
    odd(orders.pay(status))
    document = ask("close", orders.events[0], "-y", "--reason", WHY)
    assert (document["exit_code"], "payctl show" in document["error"]["hint"]) == (7, True)


@pytest.mark.parametrize(
    ("behind", "hint"),
    [(["COMPLETED"], "publish-outbox"), (["CANCELLED"], "payctl show"), (["COMPLETED", "CANCELLED"], "payctl show")],
)
@pytest.mark.parametrize("kind", ["COMPLETED", ODD])
def test_the_refusal_advises_a_release_only_if_it_takes_no_ticket_away(kind, behind, hint, orders, ask):
    """If a release would send a cancellation of a paid order, the hint names `payctl show` instead of a release."""
    orders.pay("COMPLETED").event(state="published", age=3 * HOUR).event(kind, "dead", age=2 * HOUR, error=ERROR)
    for minutes, each in enumerate(behind):
        orders.event(each, age=HOUR - timedelta(minutes=minutes))
    document = ask("close", orders.events[1], "-y", "--reason", WHY)
    assert (document["exit_code"], "waits behind" in document["error"]["message"]) == (7, True)
    assert (hint in document["error"]["hint"], "release" in document["error"]["hint"]) == (
        True,
        len(behind) == 1 and (behind == ["COMPLETED"]),
    )


@pytest.mark.parametrize(
    ("kind", "expected"), [("FAILED", (5, "released_after_success")), ("CANCELLED", (0, "published"))]
)
def test_show_finds_a_failure_that_was_sent_after_the_success(kind, expected, orders, shown):
    """If a failure was sent after the success event, `payctl show` exits with 5.

    After a cancellation, it exits with 0, because the order service does not read cancellations.
    """
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR).event(kind, "published", age=HOUR)
    found = shown()
    assert (found.exit_code, found.verdict["kind"]) == expected


def test_a_closed_group_needs_nothing(orders, ask, close, invoke, database_url):
    """If all events of a group are closed, `payctl errors` says nothing about what to do."""
    odd(orders.pay("FAILED"))
    close(orders.events[0])
    (group,) = ask("errors")["items"]
    assert (group["todo"], group["close"], group["replay"]) == (None, "", "")
    assert "unknown type" not in invoke("errors", DATABASE_URL=database_url).stdout


def test_a_closed_group_of_repeated_successes_names_no_first_step(orders, close, invoke, database_url):
    """If the refused message of a sent success is closed, `payctl errors` asks nobody to change the size limit."""
    orders.pay("COMPLETED").event(state="published", age=2 * HOUR)
    orders.event(state="dead", age=HOUR, error="MSG_SIZE_TOO_LARGE: Broker: Message size too large")
    close(orders.events[1])
    shown = invoke("errors", DATABASE_URL=database_url).stdout
    assert "MSG_SIZE_TOO_LARGE" in shown
    assert "first" not in [line.split()[0] for line in shown.splitlines() if line.split()]
