"""Test that ``payctl close`` accepts late money only after the success event has been sent."""

from __future__ import annotations

import re

import pytest

from tests.cli.commands.show.findings_to_close import DONE, HOUR, NOW, wrong

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("state", ["dead", "pending"])
def test_late_money_cannot_be_closed_before_the_success_event_is_sent(
    state, orders, ask, invoke, content, database_url
):
    """While the success event is unsent, `payctl close` refuses late money, and `payctl show` says what to do first.

    The seats might be sold before the event is sent, and nobody would check this after a closing.
    """
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).event(state=state).callback(age=HOUR)
    before = content()
    document = ask("close", orders.name, "-y", "--reason", DONE)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert f"payctl show {orders.name}" in document["error"]["hint"]
    assert content() == before
    text = " ".join(invoke("show", orders.name, DATABASE_URL=database_url).stdout.split())
    assert 0 < text.index("next:") < text.index("to do: after the event is sent")
    assert "the seats may have been sold since" in text
    assert "payctl close" not in text


# name: how to insert the success event and the other findings, and the first command in the hint
UNSENT = {
    "dead": (lambda o: o.event(state="dead"), "replay {first}"),
    "pending": (lambda o: o.event(), "publish-outbox"),
    "young": (lambda o: o.event(age=HOUR / 360), "publish-outbox"),
    "pending, and an unreadable callback": (
        lambda o: o.event().unclear("unreadable", provider="vnpay"), "publish-outbox"),
    "pending, and blocked money": (
        lambda o: o.event().callback("IGNORED", "ignored", "held", number="4712", age=NOW), "publish-outbox"),
    "pending, and an undocumented code": (
        lambda o: o.event().callback("IGNORED", "ignored", "undocumented_code", number="4712", age=NOW),
        "publish-outbox"),
    "dead, and an unreadable callback": (
        lambda o: o.event(state="dead").unclear("unreadable", provider="vnpay"), "replay {first}"),
    "dead, because it is too large for the topic": (
        lambda o: o.event(state="dead", error="MSG_SIZE_TOO_LARGE: x"), "replay {first}"),
    "behind a dead failure": (
        lambda o: o.event("CANCELLED", "dead", age=2 * HOUR).event(), "publish-outbox --on-dead release"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSENT)
def test_the_hint_of_close_sends_the_event(name, orders, ask, invoke, mock_kafka, database_url):
    """The command in the hint of `payctl close` sends the success event. Late money can then be closed."""
    write, wanted = UNSENT[name]
    write(orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR))
    hint = ask("close", orders.name, "-y", "--reason", DONE)["error"]["hint"]
    (command, look) = re.findall("`payctl ([^`]+)`", hint)
    assert look == f"show {orders.name}"
    assert command == orders.named(wanted)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    more = ["-y"] if command.startswith("replay") else []
    assert invoke(*command.split(), *more, **places).exit_code == 0
    assert invoke("publish-outbox", **places).exit_code == 0
    document = ask("close", orders.name, "-y", "--reason", DONE)
    kinds = [each["kind"] for each in document["items"]]
    assert (document["exit_code"], "late_money" in kinds) == (0, True)


def test_the_hint_of_close_says_what_must_be_fixed_before_a_replay(orders, ask):
    """If a replay of the dead success event would fail again, the hint first says what to fix, as `show` does."""
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR)
    orders.event(state="dead", error="MSG_SIZE_TOO_LARGE: x")
    todo = ask("show", orders.name)["result"]["verdict"]["todo"]
    assert todo.startswith("raise max.message.bytes of payment.completed to ")
    hint = ask("close", orders.name, "-y", "--reason", DONE)["error"]["hint"]
    assert hint.startswith(f"{todo}. Then send the event: `payctl replay {orders.events[0]}`")


def test_late_money_cannot_be_closed_if_no_success_event_exists(orders, ask, content):
    """If a late payment has no success event at all, `payctl close` refuses to close the late money.

    The hint says who can help, and when the finding can be closed.
    """
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR)
    before = content()
    document = ask("close", orders.name, "-y", "--reason", DONE)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert content() == before
    assert document["error"]["hint"] == (
        "no success event exists, so ask the order service's team whether the order has its tickets. You can close the"
        " finding as soon as the payment service has written the event and it is published, or 7 days"
        f" (OUTBOX_RETENTION_DAYS) after the payment; see the state: `payctl show {orders.name}`"
    )


def test_late_money_without_a_success_event_can_be_closed_after_the_event_is_written(orders, ask):
    """As the hint says, late money can be closed once the missing success event has been written and published."""
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR).event(state="published")
    assert ask("close", orders.name, "-y", "--reason", DONE)["counts"] == {"closed": 1}


def test_late_money_without_a_success_event_can_be_closed_after_the_retention(orders, ask):
    """As the hint says, late money can be closed once the payment is older than the retention period."""
    day = 24 * HOUR
    orders.pay("COMPLETED", ended={"CANCELLED": 3 * day}, age=2 * day).callback(age=2 * day)
    hint = ask("close", orders.name, "-y", "--reason", DONE, OUTBOX_RETENTION_DAYS="30")["error"]["hint"]
    assert "or 30 days (OUTBOX_RETENTION_DAYS) after the payment" in hint
    document = ask("close", orders.name, "-y", "--reason", DONE, OUTBOX_RETENTION_DAYS="1")
    assert (document["exit_code"], document["counts"]) == (0, {"closed": 1})


def test_show_does_not_wait_for_an_event_that_does_not_exist(orders, ask):
    """If a late payment has no success event, `payctl show` says to ask the order service's team at once."""
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR)
    result = ask("show", orders.name)["result"]
    findings = {each["kind"]: each["todo"] for each in (result["verdict"], *result["also"])}
    assert [*findings] == ["no_event", "late_money"]
    assert findings["late_money"].startswith("ask the team of the order service")


def test_close_warns_if_the_success_event_is_unsent(orders, ask):
    """A refund can be recorded before the success event is sent, but the result contains a warning."""
    wrong(orders.pay("COMPLETED").event(state="dead").callback(number="7"))
    document = ask("close", orders.name, "-y", "--reason", DONE)
    assert (document["exit_code"], document["counts"]) == (0, {"closed": 1})
    assert document["warnings"] == [f"the success event has not been sent yet: payctl show {orders.name}"]
