"""Test that the first lines of `payctl show EVENT` give the state of this event."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.formats import short_id

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)

# name: (how to insert the order, the number of the event, the end of the sentence about the event)
CASES = {
    "dead": (
        lambda o: o.pay("COMPLETED").event(state="dead", error="A: no"), 0,
        "(PAYMENT_COMPLETED) is dead after 5 tries"),
    "dead at the first try": (
        lambda o: o.pay("COMPLETED").event(state="dead", error="MSG_SIZE_TOO_LARGE: no"), 0,
        "(PAYMENT_COMPLETED) is dead after 1 try"),
    "dead and superseded, although the verdict is about the success event": (
        lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(state="published"), 0,
        "(PAYMENT_FAILED) is dead after 5 tries, superseded"),
    "published": (
        lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(state="published"), 1,
        "(PAYMENT_COMPLETED) was published 1 h ago"),
    "blocked": (
        lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(), 1,
        "(PAYMENT_COMPLETED) is blocked by an earlier dead event"),
    "pending": (lambda o: o.pay("COMPLETED").event(), 0, "(PAYMENT_COMPLETED) is pending"),
    "failed and pending": (
        lambda o: o.pay("COMPLETED").event(retries=2, error="A: no"), 0,
        "(PAYMENT_COMPLETED) is pending, and 2 tries failed"),
    "of an unknown type": (lambda o: o.event("?REFUND", "dead"), 0, "(?REFUND) is dead after 5 tries"),
}  # fmt: skip


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_first_lines_name_the_state_of_the_event(orders, ask, invoke, database_url, name, short):
    """The line below the verdict is about the event whose id was given, even if the verdict is about another event."""
    write, number, said = CASES[name]
    write(orders)
    event = orders.events[number]
    given = short_id(event) if short else event
    lines = invoke("show", given, DATABASE_URL=database_url).stdout.splitlines()
    (line,) = [line.strip() for line in lines[:3] if line.strip().startswith("the event " + short_id(event))]
    assert line == f"the event {short_id(event)} {said}"
    facts = ask("show", given)["result"]["event"]
    assert (facts["id"], facts["closed"], facts["closed_by_run"]) == (event, False, None)
    state = next((state for state in ("dead after", "published") if state in said), "pending").split()[0]
    assert (facts["state"], facts["superseded"], facts["blocked"]) == (state, "superseded" in said, "blocked" in said)


def test_the_first_lines_say_that_the_event_is_closed(orders, ask, invoke, database_url):
    """If a person has closed the event, the line below the verdict says who did it, and why."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(state="published")
    event, sent = orders.events
    closed = ask("close", event, "-y", "--reason", "has the tickets", PAYCTL_ACTOR="Lan")
    lines = invoke("show", event, DATABASE_URL=database_url).stdout.splitlines()
    assert lines[0].startswith("✔  published")
    begin = f"the event {short_id(event)} (PAYMENT_FAILED) is dead after 5 tries, superseded; closed "
    assert lines[1].strip().startswith(begin)
    assert lines[1].endswith(" by Lan: has the tickets")
    facts = ask("show", event)["result"]["event"]
    assert (facts["closed"], facts["closed_by_run"]) == (True, closed["run_id"])
    assert ask("show", sent)["result"]["event"]["closed"] is False


def test_an_order_code_shows_no_line_about_one_event(orders, ask, invoke, database_url):
    """Given an order code, `payctl show` prints the verdict, and no line about a single event."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(state="published")
    assert ask("show", orders.name)["result"]["event"] is None
    shown = invoke("show", orders.name, DATABASE_URL=database_url).stdout
    assert [f"the event {short_id(event)}" in shown for event in orders.events] == [False, False]
