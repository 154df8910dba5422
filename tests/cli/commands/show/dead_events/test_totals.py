"""Test that each screen that counts dead events says how many of them a person has closed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR

pytestmark = pytest.mark.postgres
ERROR = "MSG_SIZE_TOO_LARGE: no"


@pytest.fixture
def closed(dead, close):
    """Close the order's dead event."""
    close(dead)


@pytest.fixture
def screen(invoke, database_url):
    """Return a function that returns the screen of a command."""
    return lambda *words, **places: invoke(*words, DATABASE_URL=database_url, **places).stdout


@pytest.mark.usefixtures("closed")
def test_the_report_counts_the_closed_events_next_to_the_dead_ones(orders, ask, screen):
    """The figures and the timeline of the report say how many of the dead events are closed."""
    said = "* {} an event that is now dead and closed by an operator was created"
    text = screen("report", "--since", "3h")
    assert said.partition("{} ")[2] in text
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR, error=ERROR)
    figures = {each["name"]: each for each in ask("report", "--since", "3h")["items"]}
    assert (figures["dead"]["value"], figures["dead_closed"]["value"]) == (2, 1)
    assert figures["dead"]["label"] == "events that are dead now, including those that a person has closed"
    (group,) = [each for name, each in figures.items() if name.startswith("dead_") and name != "dead_closed"]
    assert (group["value"], group["label"].endswith(", including 1 that a person has closed")) == (2, True)
    assert "the first of 2 events that are now dead (1 closed by an operator) was created" in screen("report")


@pytest.mark.usefixtures("closed")
def test_a_breakdown_of_stats_says_that_dead_includes_closed_events(screen):
    """Below the table of `stats --by`, payctl says how many of the dead events are closed."""
    assert "dead includes 1 event that an operator has closed" in screen("stats", "--by", "type")
    assert "dead includes" not in screen("stats")
    assert "payctl_outbox_dead_closed_events 1\n" in screen("stats", "--prometheus")


@pytest.mark.usefixtures("closed")
def test_publish_outbox_counts_the_closed_events_apart(orders, screen, mock_kafka):
    """If an event dies in a run, the total number of dead events leaves out the closed ones and counts them apart."""
    orders.pay("FAILED").event("?NOTED", age=timedelta(minutes=1))
    shown = screen("publish-outbox", KAFKA_BROKERS=mock_kafka.bootstrap)
    assert "dead in total\t1 and 1 closed by an operator" in shown
