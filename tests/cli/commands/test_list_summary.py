"""Test the first line of each list, which gives the count and the states of the listed rows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.cli.output.list_summary import Place, summary
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

NEXT, FIRST = Place.NEXT, Place.FIRST
RUN = "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6{}"


@pytest.mark.parametrize(
    ("states", "more", "said"),
    [
        ({"PENDING": 3}, {}, "3 payments, all PENDING"),
        ({"PENDING": 2}, {}, "2 payments, both PENDING"),
        ({"PENDING": 1}, {}, "1 payment, PENDING"),
        ({"FAILED": 1, "PENDING": 1200}, {}, "1,201 payments: 1,200 PENDING, 1 FAILED"),
        ({"dead": 1, "closed": 1}, {}, "2 payments: 1 dead, 1 closed by an operator"),
        ({"PENDING": 50}, {"more": True}, "the newest 50 payments, all PENDING; more match"),
        ({"PENDING": 1}, {"more": True}, "the newest payment, PENDING; more match"),
        ({"A": 2, "B": 3}, {"more": True, "place": NEXT}, "the next 5 payments: 3 B, 2 A; more match"),
        ({"PENDING": 3}, {"more": True, "place": FIRST}, "the first 3 payments, all PENDING; more match"),
        ({"PENDING": 3}, {"place": FIRST}, "3 payments, all PENDING"),
        ({"PENDING": 3}, {"place": NEXT}, "the last 3 payments, all PENDING"),
        ({}, {}, "no payment matches"),
        ({}, {"place": NEXT}, "no more payment matches"),
    ],
)  # fmt: skip
def test_the_summary_counts_only_the_shown_rows(states, more, said):
    """The summary of a list names a total only if the list shows every matching row."""
    assert summary("payment", states, **more) == said


@pytest.fixture
def shop(engine):
    """Insert payments in two states, events in four states, a callback and three runs."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", last_error="timeout", age=timedelta(hours=3))
        insert_events(connection, 3, state="published", age=timedelta(hours=2))
        insert_events(connection, 1)
        insert_payments_of_events(connection)
        payment = insert_payment(connection, provider="MOMO", order_code="TB-OPEN", age=timedelta(hours=1))
        connection.exec_driver_sql("UPDATE payments SET status = 'PENDING' WHERE id = %(id)s", {"id": payment.id})
        for number in range(3):
            who = Actor("an", "here")
            runs.start(connection, NewRun(RUN.format(number), "replay", who))


LISTS = {
    ("list", "outbox"): "6 events: 3 published, 2 dead, 1 pending",
    ("list", "outbox", "--failed"): "2 events, both dead",
    ("list", "outbox", "--failed", "--wide"): "2 events, both dead",
    ("list", "outbox", "--fields", "id"): "6 events: 3 published, 2 dead, 1 pending",
    ("list", "outbox", "--limit", "3"): "the newest 3 events: 2 published, 1 pending; more match",
    ("list", "payments", "--order-code", "TB-OPEN"): "1 payment, PENDING",
    ("list", "receipts"): "no receipt matches",
    ("runs", "list"): "3 runs, all interrupted",
    ("runs", "list", "--wide"): "3 runs, all interrupted",
    ("runs", "list", "--limit", "2"): "the newest 2 runs, both interrupted; more match",
}


@pytest.mark.postgres
@pytest.mark.usefixtures("shop")
def test_every_list_begins_with_the_summary(terminal, database_url):
    """On a terminal, the first line of each list is the summary."""
    found = {}
    for command in LISTS:
        with terminal(*command, columns=200, DATABASE_URL=database_url) as it:
            assert it.finish() == 0
            found[command] = it.text().splitlines()[0]
    assert found == LISTS


@pytest.mark.postgres
@pytest.mark.usefixtures("shop")
def test_in_a_pipe_the_summary_is_on_stderr(process, database_url):
    """If the output is piped, stdout contains only the table.

    stderr contains the summary and the options for showing more rows.
    """
    for command, said in LISTS.items():
        shown = process(*command, DATABASE_URL=database_url)
        assert shown.stderr.startswith(f"{said}\nprofile none · database "), command
        assert said not in shown.stdout
        assert ("more rows: --" in shown.stderr) == ("more match" in said)


@pytest.mark.postgres
@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("words", [("list", "outbox", "--limit", "3"), ("runs", "list", "--limit", "2")], ids=" ".join)
def test_the_cursor_that_a_list_prints_shows_the_next_page(process, ask, words, database_url):
    """The last line of a list contains the --after option for the next page.

    On the last page, the summary says that these are the last rows.
    """
    noted = process(*words, DATABASE_URL=database_url).stderr
    cursor = noted.partition("--after ")[2].splitlines()[0].strip("'")
    assert cursor == ask(*words)["next"]
    later = process(*words[:2], "--after", cursor, DATABASE_URL=database_url).stderr
    assert later.startswith("the last ")


@pytest.mark.postgres
@pytest.mark.usefixtures("shop")
def test_output_for_programs_has_no_summary(process, database_url):
    """With -o json, ndjson or csv, no stream contains the summary, and the line about the database is on stderr."""
    for form in ("json", "ndjson", "csv"):
        shown = process("list", "outbox", "-o", form, DATABASE_URL=database_url)
        assert "6 events" not in shown.stdout + shown.stderr
        assert shown.stderr.startswith("profile none · database ")
        assert shown.stderr.count("\n") == 1


@pytest.mark.postgres
@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("words", [("list", "outbox", "--limit", "3"), ("runs", "list", "--limit", "2")], ids=" ".join)
def test_a_terminal_shows_the_option_for_the_next_page_on_one_line(terminal, ask, words, database_url):
    """In 80 columns, the --after option and its cursor are on one line, so that a user can copy both."""
    with terminal(*words, DATABASE_URL=database_url) as it:
        it.finish()
        lines = [line.strip() for line in it.text().splitlines()]
    assert f"--after '{ask(*words)['next']}'" in lines
