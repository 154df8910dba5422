"""Test that a person can close a dead event of an unknown type that no customer waits for."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR, WHY

pytestmark = pytest.mark.postgres
ODD = "?PAYMENT_NOTED"
ERROR = "UNKNOWN_EVENT_TYPE: no topic is known for this event type"


def odd(order, *, age=HOUR):
    """Insert a dead event of an unknown type."""
    return order.event(ODD, "dead", age=age, error=ERROR)


# why no customer waits for the event: how to insert the order
NEEDLESS = {
    "the success was sent": lambda o: odd(o.pay("COMPLETED").event(state="published", age=2 * HOUR)),
    "the success was sent later": lambda o: odd(o.pay("COMPLETED"), age=2 * HOUR).event(state="published"),
    "the success was sent and cleaned up": lambda o: odd(o.pay("COMPLETED").callback(event="cleaned up")),
    "the payment failed": lambda o: odd(o.pay("FAILED").event("FAILED", "published", age=2 * HOUR)),
    "the payment failed without an event": lambda o: odd(o.pay("FAILED")),
    "the payment was cancelled": lambda o: odd(o.pay("CANCELLED").event("CANCELLED", "published", age=2 * HOUR)),
}


def event_of(order):
    """Return the id of the order's event of an unknown type."""
    return next(iter(order.unknown))


@pytest.fixture
def orders(orders, execute):
    """Return the writer of an order, which also knows the ids of its events of unknown types."""

    class Known:
        def __getattr__(self, name):
            return getattr(orders, name)

        @property
        def unknown(self):
            return execute("""SELECT id FROM outbox WHERE "eventType" = '?PAYMENT_NOTED' ORDER BY "createdAt" """)

    return Known()


@pytest.mark.parametrize("name", NEEDLESS)
def test_a_needless_event_of_an_unknown_type_can_be_closed(name, orders, ask, close, doctor, execute):
    """After `payctl close EVENT`, no command counts the event as open, and the event stays in the outbox."""
    NEEDLESS[name](orders)
    event = event_of(orders)
    assert ask("show", orders.name)["exit_code"] == 5
    document = close(event)
    assert (document["counts"], [each["kind"] for each in document["items"]]) == ({"closed": 1}, ["unknown_type"])
    shown = ask("show", orders.name)
    closed = [each for each in (shown["result"]["verdict"], *shown["result"]["also"]) if each["kind"] == "unknown_type"]
    assert [(each["mark"], each["todo"], each["closed_by_run"]) for each in closed] == [
        ("good", None, document["run_id"])
    ]
    assert f"by Lan: {WHY}" in closed[0]["text"]
    assert (shown["exit_code"], shown["result"]["next"][:0]) == (0, [])
    assert (doctor()["status"], doctor()["fact"]) == ("ok", "no event is pending; 1 dead event closed by an operator")
    stats = ask("stats")["result"]
    assert (stats["dead"], stats["closed"], stats["causes"]) == (1, 1, [])
    assert ask("stats", "--check")["exit_code"] == 0
    errors = ask("errors")
    assert (errors["counts"]["closed"], errors["items"][0]["close"]) == (1, "")
    (listed,) = ask("list", "outbox", "--failed")["items"]
    assert (listed["id"], listed["closed"]) == (event, True)
    report = ask("report", "--since", "3h")["result"]
    assert "1 dead event was closed by an operator." in report["verdict"]
    assert execute("SELECT id FROM outbox WHERE NOT published") == [event]
    assert close(event)["counts"] == {"closed": 0}


def test_a_closed_event_of_an_unknown_type_does_not_fail_the_publisher(orders, ask, close, mock_kafka):
    """`payctl publish-outbox` exits with 0 if the only dead event is closed. Before the closing, it exits with 6."""
    NEEDLESS["the success was sent"](orders)
    kafka = {"KAFKA_BROKERS": mock_kafka.bootstrap}
    assert ask("publish-outbox", **kafka)["exit_code"] == 6
    close(event_of(orders))
    document = ask("publish-outbox", **kafka)
    counts = {**document["result"], **document["counts"]}
    assert document["exit_code"] == 0
    assert (counts["dead_in_outbox"], counts["dead_closed_in_outbox"], counts["dead_unknown_in_outbox"]) == (1, 1, 0)


KEPT = {
    "the payment has no success": lambda o: odd(o.pay("COMPLETED")),
    "the payment is pending": lambda o: odd(o.pay("PENDING")),
    "the success is pending": lambda o: odd(o.pay("COMPLETED").event(age=2 * HOUR)),
    "the success is dead": lambda o: odd(o.pay("COMPLETED").event(state="dead", age=2 * HOUR)),
    "a receipt's event is not sent": lambda o: odd(
        o.pay("COMPLETED").event(state="dead", age=2 * HOUR).callback(event=o.events[0])
    ),
    "no payment": odd,
    "an event waits behind it": lambda o: odd(o.pay("FAILED"), age=2 * HOUR).event("FAILED"),
    "not dead": lambda o: o.pay("FAILED").event(ODD),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_event_of_an_unknown_type_that_may_be_needed_stays_open(name, orders, ask, content):
    """If the event is not dead, or a customer or an event may wait for it, `payctl close EVENT` exits with 7."""
    KEPT[name](orders)
    before = content()
    document = ask("close", event_of(orders), "-y", "--reason", WHY)
    assert (document["exit_code"], document["run_id"]) == (7, None), document
    assert content() == before
    assert all(each["close"] == "" for each in ask("errors")["items"])


def test_show_and_errors_name_the_command_that_closes_the_event(orders, ask, invoke, database_url):
    """`payctl show ORDER`, `show EVENT` and `errors` print a command that closes the event."""
    NEEDLESS["the success was sent"](orders)
    command = f"payctl close {event_of(orders)} --reason TEXT"
    for name in (orders.name, event_of(orders)):
        assert command in invoke("show", name, DATABASE_URL=database_url).stdout
    (group,) = ask("errors")["items"]
    assert group["close"] == command
    assert ask(*shlex.split(command.replace("TEXT", "needless"))[1:], "-y")["counts"] == {"closed": 1}
    assert command not in invoke("show", orders.name, DATABASE_URL=database_url).stdout


def test_errors_names_the_oldest_needless_event(orders, ask):
    """`payctl errors` names a group's oldest harmless event, even if a customer waits for an older event."""
    odd(orders.pay("COMPLETED"), age=3 * HOUR)
    odd(orders.pay("FAILED"), age=2 * HOUR)
    odd(orders.pay("FAILED"))
    (group,) = ask("errors")["items"]
    assert group["close"] == f"payctl close {orders.unknown[1]} --reason TEXT"


def test_a_closed_event_of_an_unknown_type_still_blocks_later_events(orders, ask, close, doctor, mock_kafka):
    """A payment's later event waits behind a closed event, as behind any dead event, until an operator releases it.

    While the later event waits, the dead event does not count as closed.
    """
    odd(orders.pay("FAILED"), age=2 * HOUR)
    event = event_of(orders)
    close(event)
    orders.event(age=timedelta(minutes=10))
    kafka = {"KAFKA_BROKERS": mock_kafka.bootstrap}
    document = ask("publish-outbox", **kafka)
    assert (document["exit_code"], document["counts"]["published"]) == (6, 0)
    assert ask("stats")["result"]["closed"] == 0
    assert doctor()["status"] == "fail"
    released = ask("publish-outbox", "--on-dead", "release", **kafka)
    assert released["counts"]["published"] == 1
    assert ask("stats")["result"]["closed"] == 1
    assert ask("publish-outbox", **kafka)["exit_code"] == 0


def test_a_second_event_of_the_same_type_stays_open(orders, ask, close):
    """If a payment has two events of an unknown type, closing one leaves the finding about the other event open."""
    odd(NEEDLESS["the success was sent"](orders), age=HOUR / 2)
    first, second = orders.unknown
    close(first)
    verdicts = ask("show", orders.name)["result"]
    findings = [each for each in (verdicts["verdict"], *verdicts["also"]) if each["kind"] == "unknown_type"]
    assert [(each["event_id"], each["mark"]) for each in findings] == [(second, "bad")]
    stats = ask("stats")["result"]
    assert (stats["dead"], stats["closed"], [each["events"] for each in stats["causes"]]) == (2, 1, [1])


def test_closing_an_event_of_an_unknown_type_leaves_the_money_open(orders, ask, close):
    """`payctl close EVENT` closes only this event, and leaves a finding about the order's money open."""
    NEEDLESS["the success was sent"](orders)
    orders.callback("COMPLETED", "refused", "wrong_amount", amount=5, number="9")
    close(event_of(orders))
    assert ask("show", orders.name)["exit_code"] == 5
    assert [each["kind"] for each in close(orders.name)["items"]] == ["wrong_amount"]


def test_a_replay_says_that_the_event_was_closed(orders, ask, close, invoke, database_url):
    """`payctl replay` leaves a closed event of an unknown type out, and says that it was closed."""
    NEEDLESS["the success was sent"](orders)
    close(event_of(orders))
    shown = invoke("replay", "--failed", "-n", DATABASE_URL=database_url)
    assert (shown.exit_code, "closed by an operator" in shown.stdout) == (
        ask("replay", "--failed", "-n")["exit_code"],
        True,
    )


def test_a_replay_says_that_a_closed_event_has_an_unknown_type(orders, ask, close, invoke, database_url):
    """`replay -n` does not call a closed event of an unknown type superseded, and names nobody who must act."""
    NEEDLESS["the success was sent"](orders)
    event = event_of(orders)
    close(event)
    shown = invoke("replay", event, "-n", DATABASE_URL=database_url).stdout
    assert f"{event}\t{ODD}\tunknown type, and closed by an operator" in shown
    assert "to do:" not in shown
    assert not [each for each in ask("replay", event, "-n")["warnings"] if ODD in each]


def test_a_closed_event_is_no_example_and_its_type_is_not_named(orders, ask, close, invoke, database_url):
    """If one of two events of unknown types is closed, `errors`, `stats`, `doctor` and `report` name only the other."""
    odd(orders.pay("FAILED"), age=2 * HOUR)
    orders.pay("FAILED").event("?CLOSED", "dead", age=HOUR, error=ERROR)
    still_open, closed = orders.events
    close(closed)
    (group,) = ask("errors")["items"]
    assert (group["count"], group["closed"], group["sample_id"]) == (2, 1, still_open)
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "dead"]
    assert (cause["events"], cause["command"]) == (1, f"payctl show {still_open}")
    assert cause["advice"].endswith("; the event is")
    told = [group["todo"], cause["advice"], ask("doctor", "--only", "backlog")["items"][0]["remedy"]]
    told.append(invoke("report", DATABASE_URL=database_url).stdout.partition("## Open now")[2].partition("##")[0])
    assert [(ODD in each, "?CLOSED" in each) for each in told] == [(True, False)] * 4


def test_the_report_says_that_a_closed_event_is_no_reason_for_a_missing_success(orders, ask, close, execute):
    """If the success disappears after the closing, `show` and `report` both say that the order has no event."""
    NEEDLESS["the success was sent"](orders)
    close(event_of(orders))
    execute("DELETE FROM outbox WHERE published")
    assert ask("show", orders.name)["result"]["verdict"]["kind"] == "no_event"
    assert [each["kind"] for each in ask("report")["result"]["orders"]] == ["no_event"]
