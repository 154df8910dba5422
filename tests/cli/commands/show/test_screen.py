"""Test the human-readable output of ``payctl show``."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

pytestmark = pytest.mark.postgres


@pytest.fixture
def screen(invoke, database_url, orders):
    """Return a function that runs `payctl show` for the order and returns the lines of stdout."""

    def show(*arguments, **environment):
        result = invoke("show", orders.name, *arguments, DATABASE_URL=database_url, **environment)
        return result.stdout.splitlines()

    return show


def test_show_begins_with_the_verdict_and_shows_both_amounts(orders, screen):
    """After a wrong amount, `payctl show` prints the order's amount and the refused one, and ends with a task."""
    orders.pay().callback("COMPLETED", "refused", "wrong_amount", amount=321_000)
    lines = screen()
    answer = "✘  NO TICKET: paid 321,000 VND, but the order is for 320,000 VND; callback refused 3 min ago"
    assert lines[0].startswith(answer)
    assert {"asked\t320,000 VND", "refused\t321,000 VND"} < set(lines)
    assert not any(line.startswith("paid\t") for line in lines)
    assert lines[-3].startswith("to do:  compare with the gateway's portal, and refund the money there")


def test_a_payment_that_is_too_small_may_be_completed(orders, screen):
    """If the customer paid too little, `payctl show` tells the operator to collect the rest or to refund the money."""
    orders.pay().callback("COMPLETED", "refused", "wrong_amount", amount=319_000)
    assert screen()[-3].startswith("to do:  compare with the gateway's portal; collect the rest, or refund the money")


def test_a_settlement_by_reconcile_is_not_called_a_callback(orders, screen):
    """If `reconcile` settled a payment, `payctl show` says that payctl asked the gateway.

    `payctl show` does not mention a callback.
    """
    orders.pay("COMPLETED").event(state="published").callback(method="RECONCILE")
    lines = screen()
    assert "settled by\tpayctl reconcile payments, which asked the gateway" in lines
    assert any("gateway asked" in line for line in lines)
    assert not any("  callback  " in line for line in lines)


def test_show_says_that_a_callback_settled_the_payment(orders, screen):
    """If a callback settled a payment, `payctl show` prints "settled by a callback"."""
    orders.pay("COMPLETED").event(state="published").callback()
    assert "settled by\ta callback" in screen()


def test_a_refused_callback_does_not_change_the_amount_that_was_paid(orders, screen, ask):
    """If a second callback was refused, `payctl show` prints the settled amount as paid.

    The refused amount is below it.
    """
    orders.pay("COMPLETED").event(state="published").callback(age=timedelta(hours=1))
    orders.callback("COMPLETED", "refused", "wrong_amount", amount=321_000, number="4712")
    assert {"asked\t320,000 VND", "paid\t320,000 VND", "refused\t321,000 VND"} < set(screen())
    result = ask("show", orders.name)["result"]
    assert (result["paid"], result["refused_amounts"]) == (320_000, [321_000])


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_show_says_that_nothing_was_paid_for_a_failed_order(status, orders, screen):
    """If a callback settled a payment as FAILED or CANCELLED, `payctl show` says that nothing was paid."""
    orders.pay(status).event(status, "published").callback(status)
    assert {"paid\tnothing", "settled by\ta callback"} < set(screen())


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "PENDING"])
def test_without_a_callback_show_does_not_say_that_nothing_was_paid(status, orders, screen):
    """If no callback has arrived, `payctl show` says that no callback reported what was paid."""
    orders.pay(status)
    assert "paid\tno callback reported this" in screen()


def test_the_instants_of_the_history_never_go_back(orders, screen, engine):
    """`payctl show` lists a callback before the settlement that it caused, and the timestamps never decrease."""
    orders.pay("COMPLETED").event(age=timedelta(minutes=4)).callback(event=orders.events[0])
    with engine.begin() as connection:
        connection.exec_driver_sql("""UPDATE payments SET "completedAt" = (SELECT received_at AT TIME ZONE 'UTC'
            - interval '1 millisecond' FROM payctl.webhook_receipts)""")
        connection.exec_driver_sql('UPDATE outbox SET "createdAt" = (SELECT "completedAt" FROM payments)')
    history = [line for line in screen() if re.match(r"\d{4}-\d\d-\d\d \d\d:", line)]
    assert [re.split("  +", line)[1] for line in history] == [
        "payment created", "callback", "payment settled", "event written"
    ]  # fmt: skip
    assert [line[:23] for line in history] == sorted(line[:23] for line in history)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("MSG_SIZE_TOO_LARGE: x", "dead after 1 try"),
        ("INVALID_RECORD: x", "dead after 1 try"),
        ("UNKNOWN_EVENT_TYPE: x", "dead after 1 try"),
        ("INVALID_REQUEST: x", "dead after 5 tries"),
        ("Connection timeout to broker-1:9092", "dead after 5 tries"),
        (None, "dead after 5 tries"),
    ],
)
def test_show_says_that_an_event_with_a_permanent_fault_died_after_1_try(orders, screen, error, said):
    """If an event has a permanent fault, `payctl show` says "after 1 try" even if the retry count is at its limit."""
    orders.pay("COMPLETED").event(state="dead", error=error)
    assert any(said in line for line in screen())


def test_the_size_of_a_payload_decides_which_limit_to_raise(orders, shown):
    """If a payload is over payctl's own limit, `payctl show` names that limit instead of the topic's limit."""
    orders.pay("COMPLETED").event(state="dead", error="MSG_SIZE_TOO_LARGE: x", size=1_200_000)
    assert "payctl sends at most 1,000,000" in shown().verdict["todo"]
    orders.events.clear()
    orders.pay("COMPLETED").event(state="dead", error="MSG_SIZE_TOO_LARGE: x", size=30_000)
    todo = shown().verdict["todo"]
    assert "raise max.message.bytes of payment.completed to 30,6" in todo
    size, limit = re.search(r"at most ([0-9,]+) bytes", todo), re.search(r"to ([0-9,]+) or more", todo)
    assert int(limit[1].replace(",", "")) - int(size[1].replace(",", "")) == 61


CLIENT = "MSG_SIZE_TOO_LARGE: Unable to produce message: Broker: Message size too large"


@pytest.mark.parametrize(("error", "size"), [(CLIENT, 1_200_000), ("MSG_SIZE_TOO_LARGE: x", 30_000)])
def test_show_prints_the_replay_that_follows_a_repair(orders, screen, error, size):
    """If an event fails again until its cause is fixed, `payctl show` prints the replay as the step after the fix."""
    orders.pay("COMPLETED").event(state="dead", error=error, size=size)
    lines = screen()
    first = next(number for number, line in enumerate(lines) if line.startswith("to do:"))
    assert lines[first + 1 : first + 3] == ["then:  requeue the event", f"  payctl replay {orders.events[0]}"]


def test_show_advises_a_replay_at_once_if_the_message_is_smaller_now(orders, shown, screen):
    """If payctl's own limit refused a message and its payload is smaller now, `payctl show` advises a replay."""
    orders.pay("COMPLETED").event(state="dead", error=CLIENT, size=300)
    document = shown()
    assert (document.verdict["remedy"], document.verdict["todo"]) == (None, None)
    lines = screen()
    assert lines[-2:] == [
        "next:  the message is smaller now, so requeue the event",
        f"  payctl replay {orders.events[0]}",
    ]


def test_a_too_large_payload_names_the_team_that_makes_it_smaller(orders, shown):
    """If a payload is over payctl's own limit, `payctl show` says that the payment service's team must change it."""
    orders.pay("COMPLETED").event(state="dead", error=CLIENT, size=1_200_000)
    assert shown().verdict["todo"].startswith("ask the payment service's team to make the payload smaller: the ")


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
def test_show_says_who_writes_a_missing_event_and_when_the_finding_ends(orders, ask, shown, status):
    """If a final payment has no event, `payctl show` names the team that must write it, and what ends the finding.

    Once the event has been written and published, nothing is open.
    """
    orders.pay(status)
    document = shown()
    assert (document.verdict["kind"], document.verdict["remedy"]) == ("no_event", "write_event")
    assert document.verdict["todo"] == (
        "ask the payment service's team to write the event, because payctl cannot write it;"
        " the finding ends when a publisher has sent the event"
    )
    orders.event(status, state="published")
    assert ask("show", orders.name)["exit_code"] == 0


def test_the_wait_of_a_requeued_event_starts_at_its_replay(orders, shown, ask):
    """If an old event was replayed, `payctl show` counts the event's waiting time from the replay."""
    orders.pay("COMPLETED", age=timedelta(days=3)).event(
        state="dead", age=timedelta(days=3), error="INVALID_REQUEST: x"
    )
    ask("replay", orders.events[0], "-y")
    assert re.fullmatch(
        "NO TICKET YET: requeued (just now|\\d+ s ago), written 3 d ago; waiting for a publisher",
        shown().verdict["text"],
    )
    assert shown().kinds == ["waiting"]


def test_an_overdue_event_that_was_requeued_shows_both_instants(orders, shown, ask, engine):
    """For an overdue requeued event, `payctl show` says when it was written and requeued, and why it is waiting."""
    orders.pay("COMPLETED").event(state="dead", age=timedelta(hours=2), error="INVALID_REQUEST: x")
    ask("replay", orders.events[0], "-y")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payctl.runs SET started_at = started_at - interval '3 minutes'")
    text = shown().verdict["text"]
    assert text.startswith("NO TICKET: requeued 3 min ago, written 2 h ago: no publisher has ever run")


def test_the_error_from_before_a_replay_is_not_shown_as_new(orders, screen, ask):
    """After a replay, `payctl show` says that the stored error is from before the replay."""
    orders.pay("COMPLETED").event(state="dead", error="INVALID_REQUEST: x")
    assert "dead after 5 tries  INVALID_REQUEST: x" in "\n".join(screen())
    ask("replay", orders.events[0], "-y")
    assert "pending  last error before the replay: INVALID_REQUEST: x" in "\n".join(screen())


def test_a_finding_has_a_mark_and_a_row_of_the_history_has_none(orders, screen):
    """Only findings begin with a mark. Each row of the history, even a repeated callback, begins with its timestamp."""
    orders.pay("COMPLETED").event(state="published").event("FAILED", "dead", age=timedelta(hours=3))
    orders.callback(event=orders.events[0])
    orders.callback("COMPLETED", "already_settled")
    orders.callback("COMPLETED", "refused", "wrong_amount", amount=321_000, number="4712")
    lines = screen()
    history = [line for line in lines if re.match(r"\S? *\d{4}-\d\d-\d\d ", line)]
    assert [sum(word in line for line in history) for word in ("already_settled", "refused", "dead")] == [1, 1, 1]
    assert all(line[:2] == "20" for line in history)
    assert not any(mark in line for mark in "✔✘!" for line in history)
    findings = lines[: next(place for place, line in enumerate(lines) if line.startswith("order\t"))]
    assert len(findings) > 1
    assert all(line[0] in "✔✘!" for line in findings)


def test_the_history_calls_an_event_behind_a_dead_one_blocked(orders, screen, ask):
    """Like `list outbox`, the history of `payctl show` marks a pending event behind a dead event as blocked."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=timedelta(hours=2)).event()
    (written,) = [line for line in screen() if "PAYMENT_COMPLETED" in line]
    assert written.endswith("PAYMENT_COMPLETED  blocked")
    steps = {step["id"]: step["facts"] for step in ask("show", orders.name)["items"] if step["kind"] == "event_written"}
    assert [(steps[id_]["state"], steps[id_]["blocked"]) for id_ in orders.events] == [
        ("dead", False),
        ("pending", True),
    ]


def test_show_says_that_an_event_died_again_after_a_replay(orders, shown, ask, engine):
    """If an event died again after a replay, `payctl show` says so in its verdict."""
    orders.pay("COMPLETED").event(state="dead", error="INVALID_REQUEST: x")
    ask("replay", orders.events[0], "-y")
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET "retryCount" = 5')
    assert "after 5 tries, again after 1 replay" in shown().verdict["text"]


def test_the_verdict_shows_no_secret_of_a_stored_error(orders, screen):
    """`payctl show` masks secrets and escapes control characters in a stored error."""
    orders.pay("COMPLETED").event(state="dead", error="\x1b[2J password=hunter2 : x")
    shown = "\n".join(screen())
    assert "hunter2" not in shown
    assert "\x1b" not in shown


def _callbacks(lines):
    return [line for line in lines if "  callback  " in line]


def test_show_names_the_transfer_that_each_callback_reports(orders, screen, ask):
    """If an order was paid twice, `payctl show` prints the gateway's number of each transfer, also in the JSON output.

    A callback about a failure reports no transfer.
    """
    orders.pay("COMPLETED").event(state="published").callback(number="99001", payment_number="FT-1")
    orders.callback(result="already_settled", number="99001", payment_number="FT-2").callback("FAILED", "ignored")
    orders.callback(result="already_settled", number="99002", payment_number=None)
    first, second, failed, without_number = _callbacks(screen())
    assert "  320,000 VND  transfer FT-1  receipt " in first
    assert "  320,000 VND  transfer FT-2  receipt " in second
    assert "transfer" not in failed
    assert "  320,000 VND  transfer 99002  receipt " in without_number
    numbers = [
        each["facts"]["payment_number"] for each in ask("show", orders.name)["items"] if each["kind"] == "callback"
    ]
    assert numbers == ["FT-1", "FT-2", "4711", None]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("Local: Message timed out", "Local: Message timed out"),
        ("Broker: Not enough in-sync replicas: 1 of 2", "Broker: Not enough in-sync replicas"),
        ("_MSG_TIMED_OUT: Local: Message timed out", "_MSG_TIMED_OUT"),
        ("connect ECONNREFUSED", "connect ECONNREFUSED"),
    ],
)
def test_show_names_an_error_that_the_old_service_stored(orders, screen, error, name):
    """If the old service stored an error, `payctl show` prints its code or, without a code, the text and no detail."""
    orders.pay("COMPLETED").event(state="dead", error=error)
    assert f"the event is dead because of {name} after " in screen()[0]
