"""An order code or a payment that was given as the id of an event, and the command that was meant."""

from __future__ import annotations

import shlex

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = pytest.mark.postgres


@pytest.fixture
def orders(engine):
    """The order code, payment and event of each state."""

    def made(state):
        with engine.begin() as connection:
            insert_events(connection, 1, state=state)
            insert_payments_of_events(connection)
            sql = """SELECT p."orderCode", p.id, o.id FROM payments AS p JOIN outbox AS o ON o."aggregateId" = p.id
                ORDER BY o.ctid DESC LIMIT 1"""
            return connection.exec_driver_sql(sql).one()

    return made


@pytest.mark.parametrize(("which", "option"), [(0, "--order-code"), (1, "--aggregate")], ids=["order code", "payment"])
@pytest.mark.parametrize("looks", [[], ["-n"]], ids=["replay", "dry run"])
def test_the_command_that_was_meant_is_printed_and_works(ask, invoke, database_url, orders, which, option, looks):
    """Exit 8 and a cross, never a tick over nothing. The command replays the events that were meant."""
    name = orders("dead")[which]
    document = ask("replay", name, "-y", *looks)
    assert (document["exit_code"], document["result"]["meant"]) == (8, f"payctl replay {option} {name}")
    lines = invoke("replay", name, "-y", *looks, DATABASE_URL=database_url).stdout.splitlines()
    kind = "an order code" if which == 0 else "a payment"
    assert any(f"{name} is {kind}, not the id of an event" in line for line in lines)
    assert f"  payctl replay {option} {name}" in lines
    assert lines[0].startswith("✘")
    assert ask(*shlex.split(document["result"]["meant"])[1:], "-y")["counts"]["requeued"] == 1


def test_an_order_without_an_event_to_replay_is_shown_instead(ask, orders):
    """A replay of its published event would match nothing again: the reader must not be sent in a circle."""
    name = orders("published")[0]
    document = ask("replay", name, "-y")
    assert (document["exit_code"], document["result"]["meant"]) == (8, f"payctl show {name}")


def test_ids_and_order_codes_together_do_what_they_can(invoke, database_url, orders):
    """Exit 6: the event is requeued, and the order code's command stands below."""
    event, name = orders("dead")[2], orders("dead")[0]
    result = invoke("replay", event, name, "-y", DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout[:19]) == (6, "!  1 event requeued")
    assert f"!  {name} is an order code, not the id of an event" in result.stdout
    assert result.stdout.splitlines()[-1] == f"  payctl replay --order-code {name}"


def test_an_order_code_that_no_payment_has_is_not_found(ask, invoke, database_url):
    """It ended with a tick before, as if there were nothing to do."""
    assert ask("replay", "--order-code", "TB-TYPO", "-y")["exit_code"] == 8
    lines = invoke("replay", "--order-code", "TB-TYPO", "-y", DATABASE_URL=database_url).stdout.splitlines()
    assert lines[0] == "✘  nothing to replay: no payment has the order code  TB-TYPO"


@pytest.mark.usefixtures("orders")
def test_a_selector_that_matches_nothing_is_still_done(ask, invoke, database_url):
    """Nothing was named, so nothing is missing."""
    assert ask("replay", "--failed", "-y")["exit_code"] == 0
    assert invoke("replay", "--failed", "-y", DATABASE_URL=database_url).stdout.startswith("✔  nothing to replay")


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [("published", 7, "every named event must be left out"), (None, 8, "no event has this id")],
)
def test_the_mark_agrees_with_the_exit_code(invoke, database_url, orders, state, code, said):
    """There is no tick over named events that were left out."""
    name = orders(state)[2] if state else "nobody"
    result = invoke("replay", name, "-y", DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (code, f"✘  nothing to replay: {said}")
