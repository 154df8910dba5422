"""Test that `payctl runs` and `payctl report` show the runs of `payctl close`."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cli.money import refused_money

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
REASON = ["-y", "--reason", "the customer has the tickets"]


@pytest.fixture
def dead(orders):
    """Insert a paid order with a dead failure event, and return the event's id."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
    orders.event(state="published")
    return orders.events[0]


@pytest.mark.parametrize("command", [["runs", "list"], ["report"]], ids=["runs", "report"])
def test_the_runs_name_the_order_or_the_event_that_was_closed(command, dead, orders, ask, engine, invoke, database_url):
    """`payctl runs list` and the report name what each `payctl close` closed.

    Both show the order code or the dead event's short id.
    """
    with engine.begin() as connection:
        refused_money(connection, orders.payment)
    for name in (dead, orders.name):
        assert ask("close", name, *REASON)["counts"] == {"closed": 1}
    text = invoke(*command, DATABASE_URL=database_url).stdout
    assert set(re.findall(r"\bclose ([\w-]+)", text)) >= {dead[:8], orders.name}, text


def test_a_closed_dead_event_changes_only_its_state(dead, ask, invoke, database_url):
    """For a closed dead event, `payctl runs show` says that only its state changed, and counts one closed event."""
    run = ask("close", dead, *REASON)["run_id"]
    assert ask("runs", "show", run)["result"]["counts"] == {"closed": 1}
    text = invoke("runs", "show", run, DATABASE_URL=database_url).stdout
    assert ("state dead → closed" in text, "event_type" in text, "MSG_SIZE" in text) == (True, False, False), text


def test_the_advised_command_fits_eighty_columns(dead, invoke, database_url):
    """The command that closes a dead event fits in 80 columns, even next to a check with a long name."""
    checks = ["--only", "backlog", "--only", "old-service"]
    text = invoke("doctor", *checks, DATABASE_URL=database_url).stdout
    (command,) = [line for line in text.splitlines() if "payctl close" in line]
    assert (command.strip(), len(command)) == (f"payctl close {dead} --reason TEXT", 80)


def test_publish_outbox_does_not_count_a_closed_dead_event(dead, ask, invoke, database_url, mock_kafka):
    """Once a person has closed a dead event, `publish-outbox` no longer mentions this event."""
    world = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    assert "1 dead event is left" in invoke("publish-outbox", **world).stdout
    ask("close", dead, *REASON)
    ran = invoke("publish-outbox", **world)
    assert (ran.exit_code, "dead" in ran.stdout, "doctor" in ran.stdout) == (0, False, False), ran.stdout


def test_a_repeat_of_a_closed_callback_is_called_a_repeat(orders, ask, invoke, database_url):
    """If a gateway repeats a callback after the finding was closed, `payctl show` says that it is a repeat."""

    def shown():
        return invoke("show", orders.name, DATABASE_URL=database_url).stdout

    def refused(age):
        orders.callback("COMPLETED", "refused", "wrong_amount", amount=321_000, number="1", age=age)

    orders.pay()
    refused(HOUR)
    ask("close", orders.name, *REASON)
    assert re.search(r"callback refused 1 h ago; closed (just now|\d+ s ago) by", " ".join(shown().split()))
    refused(timedelta(0))
    assert "; a repeat of a callback that was closed" in " ".join(shown().split())


def test_close_with_yes_shows_each_finding_once(dead, invoke, database_url):
    """With `--yes`, `payctl close` prints each finding once, in the result."""
    ran = invoke("close", dead, *REASON, DATABASE_URL=database_url)
    assert (ran.exit_code, ran.stdout.count("is superseded"), ran.stderr.count("is superseded")) == (0, 1, 0)


def test_the_question_of_close_names_the_order_and_the_reason(orders, terminal, database_url):
    """Before `payctl close` asks for confirmation, it shows the order's code and the reason."""
    orders.pay().callback("COMPLETED", "refused", "wrong_amount", amount=321_000, number="1", age=HOUR)
    with terminal("close", orders.name, "--reason", "refunded", DATABASE_URL=database_url) as it:
        it.wait_for("[y/N]")
        shown = it.text()
        it.press(b"n\r")
        assert it.finish() == 7
    assert re.search(rf"order +{orders.payment.order_code}\n *reason +refunded\n", shown), shown
