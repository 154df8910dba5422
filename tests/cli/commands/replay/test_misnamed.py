"""Test replays for which an operator gave an order code or a payment id instead of an event id."""

from __future__ import annotations

import shlex

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = pytest.mark.postgres


@pytest.fixture
def orders(engine):
    """Return a function that inserts an order and returns its order code, payment id and event id."""

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
def test_a_replay_of_an_order_code_as_event_id_advises_a_working_command(
    ask, invoke, database_url, orders, which, option, looks
):
    """If an order code or payment id is given as an event id, `replay` exits with 8 and suggests a working command."""
    name = orders("dead")[which]
    document = ask("replay", name, "-y", *looks)
    assert (document["exit_code"], document["result"]["meant"]) == (8, f"payctl replay {option} {name}")
    lines = invoke("replay", name, "-y", *looks, DATABASE_URL=database_url).stdout.splitlines()
    kind = "an order code" if which == 0 else "a payment"
    assert any(f"{name} is {kind}, not the id of an event" in line for line in lines)
    assert f"  payctl replay {option} {name}" in lines
    assert lines[0].startswith("✘")
    assert ask(*shlex.split(document["result"]["meant"])[1:], "-y")["counts"]["requeued"] == 1


@pytest.mark.parametrize("state", ["published", "superseded"])
def test_for_an_order_without_a_dead_event_payctl_advises_show(ask, orders, execute, state):
    """If a replay of an order would requeue no event, `replay` suggests `payctl show` with the order code."""
    name = orders("published" if state == "published" else "dead")[0]
    if state == "superseded":
        execute("""UPDATE outbox SET "eventType" = 'PAYMENT_FAILED'""")
        execute("UPDATE payments SET status = 'COMPLETED'")
    document = ask("replay", name, "-y")
    assert (document["exit_code"], document["result"]["meant"]) == (8, f"payctl show {name}")


def test_a_replay_of_an_event_id_and_an_order_code_requeues_the_event(invoke, database_url, orders):
    """Given an event id and an order code, `replay` requeues the event and exits with 6.

    `replay` suggests a second command for the order.
    """
    event, name = orders("dead")[2], orders("dead")[0]
    result = invoke("replay", event, name, "-y", DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout[:19]) == (6, "!  1 event requeued")
    assert f"!  {name} is an order code, not the id of an event" in result.stdout
    assert result.stdout.splitlines()[-1] == f"  payctl replay --order-code {name}"


def test_a_replay_of_an_unknown_order_code_exits_with_8(ask, invoke, database_url):
    """If no payment has the given order code, `replay` exits with 8, and its first line begins with a cross."""
    assert ask("replay", "--order-code", "TB-TYPO", "-y")["exit_code"] == 8
    lines = invoke("replay", "--order-code", "TB-TYPO", "-y", DATABASE_URL=database_url).stdout.splitlines()
    assert lines[0] == "✘  nothing to replay: no payment has the order code  TB-TYPO"


@pytest.mark.usefixtures("orders")
def test_a_replay_whose_selector_matches_no_event_exits_with_0(ask, invoke, database_url):
    """If no event matches the selector, `replay` shows a tick and exits with 0."""
    assert ask("replay", "--failed", "-y")["exit_code"] == 0
    assert invoke("replay", "--failed", "-y", DATABASE_URL=database_url).stdout.startswith("✔  nothing to replay")


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [("published", 7, "every named event is left out"), (None, 8, "no event has this id")],
)
def test_a_replay_that_leaves_out_every_named_event_shows_a_cross(invoke, database_url, orders, state, code, said):
    """If `replay` leaves out every named event, its first line begins with a cross."""
    name = orders(state)[2] if state else "nobody"
    result = invoke("replay", name, "-y", DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (code, f"✘  nothing to replay: {said}")


@pytest.mark.parametrize(
    ("options", "hinted"),
    [
        (["--since", "20m", "--allow-published"], True),
        (["--since", "20m"], False),
        (["--since", "20m", "--published", "--type", "PAYMENT_FAILED", "--allow-published"], False),
    ],
)
def test_a_replay_says_which_option_selects_published_events(invoke, database_url, engine, options, hinted):
    """With --allow-published but not --published, `replay` selects no published event, and names --published."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="published")
    result = invoke("replay", *options, "-n", DATABASE_URL=database_url)
    said = "no unpublished event matches; published events are selected only with --published"
    assert result.exit_code == 0
    assert result.stdout.startswith(f"✔  nothing to replay: {said if hinted else 'no event matches'}\n")
