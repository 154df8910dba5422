"""What a person sees of ``payctl show``."""

from __future__ import annotations

from datetime import timedelta

import pytest

pytestmark = pytest.mark.postgres


@pytest.fixture
def screen(invoke, database_url, orders):
    """Show the order to a person; the lines of stdout."""

    def show(*arguments, **environment):
        result = invoke("show", orders.name, *arguments, DATABASE_URL=database_url, **environment)
        return result.stdout.splitlines()

    return show


def test_the_first_line_is_the_verdict_and_the_amounts_follow(orders, screen):
    """Asked and paid stand below each other, and a person's task stands where no command helps."""
    orders.pay().callback("COMPLETED", "refused", "wrong_amount", amount=321_000)
    lines = screen()
    assert lines[0].startswith("✘  NO TICKET: paid 321,000 VND, the order is 320,000 VND; callback refused 3 min ago")
    assert {"asked\t320,000 VND", "paid\t321,000 VND"} < set(lines)
    assert lines[-1].startswith("to do:  compare with the gateway's portal")


def test_a_settlement_by_reconcile_is_not_called_a_callback(orders, screen):
    """The same receipt with another method is the answer to payctl's own question."""
    orders.pay("COMPLETED").event(state="published").callback(method="RECONCILE")
    lines = screen()
    assert "settled by\tpayctl reconcile payments, which asked the gateway" in lines
    assert any("gateway asked" in line for line in lines)
    assert not any("  callback  " in line for line in lines)


def test_a_settlement_by_a_callback_says_so(orders, screen):
    """For comparison."""
    orders.pay("COMPLETED").event(state="published").callback()
    assert "settled by\ta callback" in screen()


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
def test_what_was_tried_once_is_not_called_five_tries(orders, screen, error, said):
    """A permanent fault sets "retryCount" to the maximum at once."""
    orders.pay("COMPLETED").event(state="dead", error=error)
    assert any(said in line for line in screen())


def test_the_payload_s_size_says_which_limit_to_raise(orders, shown):
    """Above the client's own limit no setting of the topic helps."""
    orders.pay("COMPLETED").event(state="dead", error="MSG_SIZE_TOO_LARGE: x", size=1_200_000)
    assert "payctl sends at most 1,000,000" in shown().verdict["todo"]
    orders.events.clear()
    orders.pay("COMPLETED").event(state="dead", error="MSG_SIZE_TOO_LARGE: x", size=30_000)
    assert "raise max.message.bytes of payment.completed over 30,0" in shown().verdict["todo"]


def test_a_requeued_event_has_waited_since_its_replay(orders, shown, ask):
    """Its row is days old; nobody has failed to send it for days."""
    orders.pay("COMPLETED", age=timedelta(days=3)).event(
        state="dead", age=timedelta(days=3), error="INVALID_REQUEST: x"
    )
    ask("replay", orders.events[0], "-y")
    assert shown().verdict["text"].startswith("NO TICKET YET: the event has waited ")
    assert shown().kinds == ["waiting"]


def test_an_event_that_died_again_after_a_replay_says_so(orders, shown, ask, engine):
    """So nobody replays it once more without a look at its cause."""
    orders.pay("COMPLETED").event(state="dead", error="INVALID_REQUEST: x")
    ask("replay", orders.events[0], "-y")
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET "retryCount" = 5')
    assert "after 5 tries, again after 1 replay" in shown().verdict["text"]


def test_no_secret_in_an_error_reaches_the_verdict(orders, screen):
    """The words before the colon come from a row, so they are redacted and escaped."""
    orders.pay("COMPLETED").event(state="dead", error="\x1b[2J password=hunter2 : x")
    shown = "\n".join(screen())
    assert "hunter2" not in shown
    assert "\x1b" not in shown
