"""Test the commands ``payctl list`` and ``payctl show``."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.event import listen, remove

from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.outbox.list_events import OUTBOX_FIELDS

pytestmark = pytest.mark.postgres


@pytest.fixture
def events(engine):
    """Insert 60 published and 3 dead events, with a payment for each."""
    with engine.begin() as connection:
        insert_events(connection, 60, state="published", age=timedelta(hours=2))
        insert_events(connection, 3, state="dead", last_error="\x1b[2J password=hunter2 \u202e")
        insert_payments_of_events(connection)


@pytest.mark.usefixtures("events")
def test_a_list_has_pages(ask):
    """A page of a list has 50 rows by default. Given the `next` value of a page, --after returns the following page."""
    first = ask("list", "outbox")
    assert (first["counts"], first["truncated"]) == ({"listed": 50}, True)
    second = ask("list", "outbox", "--after", first["next"])
    assert (second["counts"], second["truncated"], second["next"]) == ({"listed": 13}, False, None)
    assert len({item["id"] for item in (*first["items"], *second["items"])}) == 63
    assert set(first["items"][0]) == set(OUTBOX_FIELDS)


@pytest.mark.usefixtures("events")
def test_every_kind_of_row_is_listed(ask, engine):
    """`payctl list payments` and `payctl list receipts` each accept their own selectors."""
    with engine.begin() as connection:
        insert_payment(connection, provider="MOMO", age=timedelta(hours=1))
    assert ask("list", "payments", "--provider", "momo", "--stuck")["counts"] == {"listed": 1}
    assert ask("list", "payments", "--status", "pending", "--failed")["counts"] == {"listed": 1}
    assert ask("list", "receipts", "--failed", "--provider", "zalo-pay")["counts"] == {"listed": 0}


def test_a_list_says_which_pending_events_are_blocked(ask, invoke, database_url, engine):
    """`payctl list` marks an event as blocked if an earlier event of the same payment is dead.

    The event's state stays pending.
    """
    with engine.begin() as connection:
        story = (
            ("pending", "a"), ("dead", "a"), ("pending", "a"), ("pending", "b"), ("dead", "c"), ("published", "c")
        )  # fmt: skip
        for number, (state, payment) in enumerate(story):
            insert_events(connection, 1, state=state, age=timedelta(minutes=10 - number))
            connection.exec_driver_sql(
                'UPDATE outbox SET "aggregateId" = %(payment)s WHERE length("aggregateId") > 1', {"payment": payment}
            )
    items = ask("list", "outbox")["items"][::-1]
    assert [(item["aggregate_id"], item["state"]) for item in items if item["blocked"]] == [("a", "pending")]
    assert [item["blocked"] for item in items] == [False, False, True, False, False, False]
    assert [item["blocked"] for item in ask("list", "outbox", "--failed")["items"]] == [False, False]
    table = invoke("list", "outbox", "--fields", "state,blocked", "-o", "csv", DATABASE_URL=database_url).stdout
    assert table.count("pending,true") == 1, table


@pytest.mark.usefixtures("events")
def test_a_list_as_ndjson_has_typed_lines_and_a_summary(invoke, database_url):
    """With -o ndjson, each line of a list has a type.

    With -o csv, a list prints the --fields columns in the given order.
    """
    lines = invoke("list", "outbox", "--all", "-o", "ndjson", DATABASE_URL=database_url).stdout.splitlines()
    documents = [json.loads(line) for line in lines]
    assert [document["type"] for document in documents] == ["item"] * 63 + ["summary"]
    assert documents[-1]["counts"] == {"listed": 63}
    table = invoke("list", "outbox", "--failed", "--fields", "state,id", "-o", "csv", DATABASE_URL=database_url).stdout
    rows = list(csv.reader(table.splitlines()))
    assert (rows[0], len(rows), {row[0] for row in rows[1:]}) == (["state", "id"], 4, {"dead"})


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
def test_a_list_escapes_and_redacts_error_texts(invoke, database_url, form):
    """`payctl list` escapes control characters and masks secrets in an event's error text."""
    shown = invoke("list", "outbox", "--failed", "-o", form, DATABASE_URL=database_url).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "hunter2" not in shown


def test_a_list_that_fails_ends_with_a_summary(invoke, database_url, engine):
    """If a table is missing, `payctl list` reports the error in the ndjson summary and exits with 3."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE payctl.webhook_receipts")
    result = invoke("list", "receipts", "-o", "ndjson", DATABASE_URL=database_url)
    (summary,) = map(json.loads, result.stdout.splitlines())
    assert (summary["type"], summary["error"]["code"], result.exit_code) == ("summary", "CONFIG", 3)


@pytest.mark.usefixtures("events")
def test_a_list_in_a_closed_pipe_is_not_an_error(database_url):
    """`payctl list ... | head` exits with 0 and prints nothing to stderr."""
    command = (
        f'"{sys.executable}" -m ticketbottle_payctl list outbox --all -q -o csv | head -n 1; exit ${{PIPESTATUS[0]}}'
    )
    result = subprocess.run(
        ["bash", "-c", command],  # noqa: S607
        env={"DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr, result.stdout.count("\n")) == (0, "", 1)


@pytest.mark.parametrize(
    "arguments",
    [["--fields", "id,nope"], ["--after", "yesterday"], ["--all", "--limit", "2"], ["--limit", "0"], ["--after", "~"]],
    ids=" ".join,
)
def test_a_list_with_contradicting_options_is_refused(ask, arguments):
    """`payctl list` exits with 2 if a field is unknown, a cursor is invalid, or options contradict each other."""
    assert ask("list", "outbox", *arguments)["exit_code"] == 2


@pytest.mark.parametrize(
    ("what", "option", "misspelt", "known"),
    [
        ("payments", "--status", "complete", "COMPLETED"),
        ("payments", "--status", "", "COMPLETED"),
        ("receipts", "--result", "rejected", "refused"),
    ],
)
def test_a_list_refuses_an_unknown_status_or_result(ask, what, option, misspelt, known):
    """`payctl list` exits with 2 for an unknown --status or --result, and lists the known values."""
    refused = ask("list", what, option, misspelt)
    assert (refused["exit_code"], known in refused["error"]["message"]) == (2, True)
    assert ask("list", what, option, known.swapcase())["exit_code"] == 0


def test_one_statement_lists_thousands_of_payments(ask, engine):
    """`payctl list payments --all` reads thousands of payments with a single statement."""
    with engine.begin() as connection:
        insert_events(connection, 4500)
        insert_payments_of_events(connection)
    read = []

    def note(_connection, _cursor, statement, *_more):
        read.append(statement)

    listen(Engine, "before_cursor_execute", note)
    try:
        document = ask("list", "payments", "--all")
    finally:
        remove(Engine, "before_cursor_execute", note)
    assert document["counts"]["listed"] == 4500
    assert len([sql for sql in read if "FROM payments" in sql]) == 1


def test_show_masks_personal_data(ask, engine):
    """Without --unmask, `payctl show` shows only payload fields that are known to be harmless."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        insert_payments_of_events(connection)
        connection.exec_driver_sql(
            """UPDATE outbox SET payload = payload || '{"buyer": {"phone": "0901"}, "memo": "x"}'"""
        )
        code = connection.exec_driver_sql('SELECT "orderCode" FROM payments').scalar_one()
    shown = {}
    for unmask in ([], ["--unmask"]):
        document = ask("show", code, *unmask)
        (event,) = [item for item in document["items"] if item["kind"] == "event_written"]
        shown[bool(unmask)] = event["facts"]["payload"]
    assert (shown[False]["buyer"], shown[False]["memo"], shown[False]["order_code"]) == ("***", "***", code)
    assert shown[True]["buyer"] == {"phone": "0901"}
    assert document["result"]["next"][0]["command"].startswith("payctl replay ")


def test_show_of_an_unknown_order_exits_with_8(ask):
    """If an order is unknown, `payctl show` exits with 8, and the hint names the three lists."""
    document = ask("show", "nope")
    lists = ("payctl list payments", "payctl list outbox", "payctl list receipts")
    assert (document["exit_code"], [each in document["error"]["hint"] for each in lists]) == (8, [True] * 3)


def test_an_archive_is_listed_without_a_database(answer, tmp_path):
    """`payctl list --from-archive` lists an archive's events without a database, and accepts most filters."""
    rows = [
        {"id": f"e{number}", "aggregateId": f"p{number}", "aggregateType": "payment", "eventType": event_type,
         "payload": {"order_code": f"TB-{number}", "provider": "ZALOPAY"}, "published": True,
         "publishedAt": f"2026-11-0{number}T00:00:01", "createdAt": f"2026-11-0{number}T00:00:00.5",
         "retryCount": 0, "lastError": None}
        for number, event_type in ((1, "PAYMENT_COMPLETED"), (2, "PAYMENT_FAILED"), (3, "PAYMENT_COMPLETED"))
    ]  # fmt: skip
    archive = tmp_path / "outbox.ndjson.gz"
    archive.write_bytes(b"".join(gzip.compress(f"{json.dumps(row)}\n".encode()) for row in rows))

    def listed(*arguments):
        document = answer("list", "outbox", "--from-archive", str(archive), *arguments)
        assert document["exit_code"] == 0
        return [item["id"] for item in document["items"]]

    assert listed() == ["e1", "e2", "e3"]
    assert listed("--type", "PAYMENT_FAILED") == ["e2"]
    assert listed("--order-code", "TB-3", "--provider", "zalo-pay") == ["e3"]
    assert listed("--since", "2026-11-02T00:00:00Z", "--until", "2026-11-03T00:00:00Z") == ["e2"]
    assert listed("--limit", "1") == ["e1"]
    for arguments in (["--failed"], ["--error", "x"], ["--after", "2026-01-01T00:00:00Z~x"]):
        assert answer("list", "outbox", "--from-archive", str(archive), *arguments)["exit_code"] == 2
