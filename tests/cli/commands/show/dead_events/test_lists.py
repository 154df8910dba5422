"""Test the output of ``payctl list outbox`` about a dead event that a person has closed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR

pytestmark = pytest.mark.postgres


def test_the_list_says_that_a_dead_event_is_closed(dead, orders, close, ask, invoke, terminal, database_url):
    """After `payctl close EVENT`, `payctl list outbox` shows the event as closed. Any other dead event stays open."""

    def listed(*options):
        return {item["id"]: (item["state"], item["closed"]) for item in ask("list", "outbox", *options)["items"]}

    def screen():
        with terminal("list", "outbox", "--failed", DATABASE_URL=database_url) as it:
            assert it.finish() == 0
            return it.text()

    orders.event("COMPLETED", "dead", error="something else")
    sent, other = orders.events[1:]
    assert set(listed().values()) == {("dead", False), ("published", False)}
    assert "closed" not in screen()
    close(dead)
    assert listed() == {dead: ("dead", True), sent: ("published", False), other: ("dead", False)}
    assert set(listed("--failed")) == {dead, other}
    shown = screen()
    assert shown.splitlines()[0] == "2 events: 1 dead, 1 closed by an operator"
    assert re.search(rf"  closed +FAILED .*{dead[:8]}", shown), shown
    assert re.search(rf"  dead +COMPLETED .*{other[:8]}", shown), shown
    assert max(map(len, shown.splitlines())) <= 80
    table = invoke("list", "outbox", dead, "--fields", "state,closed", "-o", "csv", DATABASE_URL=database_url).stdout
    assert table == "state,closed\ndead,true\n"
    row = invoke("list", "outbox", dead, DATABASE_URL=database_url).stdout.splitlines()[1].split("\t")
    assert (row[3], row[-1]) == ("dead", "true")


def test_errors_and_show_name_the_command_that_closes_a_harmless_event(dead, orders, close, ask, invoke, database_url):
    """`payctl errors` and `payctl show EVENT` name the command that closes a harmless event, until it is closed.

    `payctl errors` names the oldest harmless event. If an event waits behind the harmless event, neither command
    advises to close the harmless event.
    """
    command = f"payctl close {dead} --reason TEXT"

    def advised(name):
        (group,) = ask("errors", "--failed")["items"]
        lines = invoke("errors", DATABASE_URL=database_url).stdout.splitlines()
        told = [each.partition("\t")[2] for each in lines if each.startswith("close\t")]
        assert told == [group["close"]] * bool(group["close"])
        shown = invoke("show", name, DATABASE_URL=database_url).stdout
        return group["close"], f"  payctl close {name} --reason TEXT" in shown.splitlines()

    assert advised(dead) == (command, True)
    orders.event("FAILED", "dead", age=3 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
    older = orders.events[-1]
    assert advised(older) == (f"payctl close {older} --reason TEXT", True)
    close(older)
    assert (advised(older)[1], advised(dead)) == (False, (command, True))
    orders.event(age=HOUR)
    assert advised(dead) == ("", False)


def test_a_closed_event_is_listed_as_dead_while_an_event_waits_behind_it(
    dead, orders, close, ask, terminal, database_url
):
    """`payctl list outbox` counts a closed event as dead while it blocks an event of its payment.

    A closed event that blocks nothing counts as closed, even if its payment has an older pending event.
    """
    close(dead)
    orders.event(age=timedelta(minutes=1))
    orders.pay("COMPLETED").event("FAILED", "dead", age=3 * HOUR).event(age=4 * HOUR)
    close(orders.events[3])
    with terminal("list", "outbox", "--failed", DATABASE_URL=database_url) as it:
        assert it.finish() == 0
        assert it.text().splitlines()[0] == "2 events: 1 dead, 1 closed by an operator"
    listed = {item["id"]: item["closed"] for item in ask("list", "outbox", "--failed")["items"]}
    assert listed == {dead: False, orders.events[3]: True}


@pytest.mark.parametrize("change", ['UPDATE outbox SET "retryCount" = 0', "UPDATE payments SET status = 'FAILED'"])
def test_an_event_is_listed_as_closed_only_while_it_is_dead_and_superseded(dead, close, ask, execute, change):
    """If a closed event is pending again, or its payment is not completed, the list does not show it as closed."""
    close(dead)
    assert ask("list", "outbox", dead)["items"][0]["closed"]
    execute(change)
    assert not ask("list", "outbox", dead)["items"][0]["closed"]
