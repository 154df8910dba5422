"""Test that closed dead events never come before dead events for which a customer may be waiting."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR
from ticketbottle_payctl.jobs.cleanup import cleanup

pytestmark = pytest.mark.postgres


@pytest.fixture
def three(orders, close):
    """Insert three dead failure events that have the same error, and close them. Return their ids."""
    names = []
    for _ in range(3):
        orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
        orders.event(state="published")
        names.append(orders.events[-2])
    for name in names:
        assert close(name)["counts"] == {"closed": 1}
    return names


@pytest.fixture
def waits(orders, three):
    """Insert a paid order whose success event is dead, and return the event's id."""
    assert three
    orders.pay("COMPLETED").event(state="dead", age=HOUR, error="BrokerError: the customer's")
    return orders.events[-1]


def test_errors_lists_a_closed_group_last(waits, ask, invoke, database_url):
    """`payctl errors` lists the one event of a customer before three closed events, also with `--limit 1`."""
    items = ask("errors")["items"]
    assert [(each["count"], each["closed"]) for each in items] == [(1, 0), (3, 3)]
    assert [each["sample_id"] for each in ask("errors", "--limit", "1")["items"]] == [waits]
    shown = invoke("errors", DATABASE_URL=database_url).stdout
    assert shown.splitlines()[0] == "!  1 event  1 kind of error  3 closed by an operator"
    assert shown.index("customer's") < shown.index("MSG_SIZE_TOO_LARGE")


def test_the_live_screen_leaves_out_a_closed_group(waits, terminal, database_url):
    """`payctl stats --watch` lists only groups with an open dead event."""
    with terminal("stats", "-w", "--interval", "200ms", DATABASE_URL=database_url) as it:
        it.wait_for("dead 1, 3 closed by an operator")
        screen = it.text()
        it.end()
    assert re.search(r"  1  [0-9a-f]{8}  BrokerError: the", screen), (waits, screen)
    assert "MSG_SIZE" not in screen


def test_the_live_screen_does_not_count_closed_events_of_an_open_group(three, orders, terminal, database_url):
    """If only some events of a group are closed, the live screen counts the others."""
    orders.pay("COMPLETED").event(state="dead", age=HOUR, error="MSG_SIZE_TOO_LARGE: no")
    with terminal("stats", "-w", "--interval", "200ms", DATABASE_URL=database_url) as it:
        it.wait_for("dead 1, 3 closed by an operator")
        screen = it.text()
        it.end()
    assert re.search(r"  1  [0-9a-f]{8}  MSG_SIZE", screen), (three, screen)


def test_a_replay_names_an_open_event_first(three, orders, ask, invoke, database_url):
    """If a replay leaves out every event, `see why` names an open event.

    If all events are closed, this line is missing.
    """
    alone = invoke("replay", "--failed", "-n", DATABASE_URL=database_url).stdout
    assert alone.count("superseded, and closed by an operator") == 3
    assert "see why" not in alone
    orders.pay("COMPLETED").event("CANCELLED", "dead", age=HOUR, error="something else").event(state="published")
    superseded = orders.events[-2]
    shown = invoke("replay", "--failed", "-n", DATABASE_URL=database_url).stdout
    assert f"see why:  payctl show {superseded}" in shown
    assert [each["id"] for each in ask("replay", "--failed", "-n")["items"]] == [superseded, *three]


def test_a_cleanup_warns_only_about_open_dead_events(three, orders, ask, invoke, database_url):
    """`payctl cleanup` counts closed events separately, and does not warn about them."""
    assert len(three) == 3
    document = ask("cleanup", "-n")
    assert (document["counts"]["dead"], document["counts"]["closed"]) == (3, 3)
    assert (document["items"], document["warnings"]) == ([], [])
    orders.pay("COMPLETED").event(state="dead", age=HOUR, error="something else")
    document = ask("cleanup", "-n")
    assert [(each["status"], each["error"]) for each in document["items"]] == [("dead", "something else")]
    assert document["warnings"] == ["1 dead event left in the outbox; `payctl errors` shows what to do"]
    shown = invoke("cleanup", "-n", DATABASE_URL=database_url).stdout
    assert re.search(r"^dead\t1$", shown, re.MULTILINE), shown
    assert re.search(r"^closed\t3 dead events, by an operator$", shown, re.MULTILINE), shown


def test_a_cleanup_logs_only_open_dead_events(three, orders, engine, caplog):
    """A cleanup logs no closed event."""
    caplog.set_level(logging.INFO, logger="ticketbottle_payctl")
    logged = []
    for _ in range(2):
        report = cleanup(engine, retention=timedelta(days=7), max_retries=5)
        logged.append(
            [one.payctl_fields["events"] for one in caplog.records if one.getMessage() == "outbox_dead_events"]
        )
        orders.pay("COMPLETED").event(state="dead", age=HOUR, error="something else")
    assert (logged, report.dead, report.closed) == ([[], [1]], len(three) + 1, len(three))


def test_errors_counts_no_kind_if_all_events_are_closed(three, invoke, database_url):
    """If an operator has closed every event, the first line of `payctl errors` does not count kinds of errors."""
    first = invoke("errors", DATABASE_URL=database_url).stdout.splitlines()[0]
    assert first == f"✔  {len(three)} events, closed by an operator"


def test_a_closed_event_counts_as_dead_again_while_it_blocks(three, orders, ask):
    """If an event waits behind a closed one, `payctl cleanup` warns about the closed event again."""
    assert len(three) == 3
    orders.event(age=timedelta(minutes=1))
    assert (ask("cleanup", "-n")["counts"]["dead"], ask("cleanup", "-n")["counts"]["closed"]) == (3, 2)
