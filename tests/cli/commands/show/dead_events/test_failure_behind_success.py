"""Test a paid order whose success event is dead while its failure event waits behind the success event.

A replay of the success event alone would let a publisher send the failure event too.
"""

from __future__ import annotations

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR
from tests.cli.documents import validate

pytestmark = pytest.mark.postgres
STOP = "stop all publishers, because the pending failure event of the paid order"


@pytest.fixture
def success(orders):
    """Insert the order, and return the id of its dead success event."""
    orders.pay("COMPLETED", age=3 * HOUR).event(state="dead", age=2 * HOUR, error="TIMED_OUT: no")
    orders.event("FAILED", age=HOUR)
    return orders.events[0]


def test_show_says_first_to_make_the_failure_dead(success, orders, invoke, database_url):
    """`show` says to stop the publishers and to make the failure event dead, and then to replay the success event."""
    shown = invoke("show", orders.name, DATABASE_URL=database_url).stdout
    places = [shown.index(words) for words in ("stop all publishers", "UPDATE outbox", f"payctl replay {success}")]
    assert places == sorted(places)


@pytest.mark.parametrize("selector", [["ID"], ["--failed"]], ids=["id", "failed"])
def test_a_replay_plan_says_first_to_make_the_failure_dead(success, orders, ask, invoke, database_url, selector):
    """The plan of a replay names the order, in the text and in the document, before the replay changes anything."""
    wanted = [success if each == "ID" else each for each in selector]
    words = f"{STOP} {orders.name} ({orders.events[1][:8]}) would take the order's tickets"
    shown = invoke("replay", *wanted, "-n", DATABASE_URL=database_url).stdout
    assert f"first:  {words}" in shown
    document = ask("replay", *wanted, "-n")
    validate(document, "replay")
    (warning,) = document["warnings"]
    assert warning.startswith(f"before the replay, {words}")
    asked = invoke("replay", *wanted, input="n\n", DATABASE_URL=database_url)
    assert f"first:  {words}" in asked.stderr + asked.stdout


@pytest.mark.usefixtures("success")
def test_errors_says_first_to_make_the_failure_dead(orders, ask):
    """`errors` advises the replay, and warns that the failure event must be made dead before the replay."""
    document = ask("errors")
    assert [each["replay"] for each in document["items"] if each["replay"]]
    (warning,) = document["warnings"]
    assert warning.startswith(f"before a replay, {STOP} {orders.name} ({orders.events[1][:8]})")


def test_after_the_failure_is_dead_the_plan_has_no_warning(success, ask, execute):
    """If the failure event is dead, the replay needs no step before it."""
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "late_failure"]
    execute(cause["sql"])
    assert ask("replay", success, "-n")["warnings"] == []
    assert ask("errors")["warnings"] == []
