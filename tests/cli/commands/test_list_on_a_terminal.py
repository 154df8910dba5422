"""Test that lists fit the terminal's width, and that every command accepts the short ids from a list."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import pytest

from ticketbottle_payctl.sandbox.callbacks import callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = pytest.mark.postgres

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LONGEST_CODE = "TB-LTDTNL-20251213-8D39986M"
ERROR = "KafkaJSConnectionError: Connection timeout"
RUN = "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6d"
RECEIPT = "9c1f02aa-71d4-4be0-9d57-0c6a6f3e1b11"
LISTS = (["list", "outbox"], ["list", "payments"], ["list", "receipts"], ["runs", "list"])


@pytest.fixture
def shop(engine, database_url, process):
    """Insert events, payments, a callback and a run. Return an environment with the database's URL."""
    with engine.begin() as connection:
        order = insert_payment(
            connection, provider="MOMO", order_code=LONGEST_CODE, amount=7_200_000, age=timedelta(minutes=41)
        )
        insert_events(connection, 2, state="dead", last_error=ERROR, age=timedelta(hours=3))
        insert_events(connection, 2, state="published", age=timedelta(days=400))
        insert_payments_of_events(connection)
        runs.start(connection, NewRun(RUN, "reconcile payments", Actor("an", "here"), reason="w " * 60))
    settings = {**environment(), "DATABASE_URL": database_url}
    body = callback(order).body.decode()
    done = process("process-webhook", "-", "--provider", "momo", stdin=body, **settings)
    assert done.returncode == 0, done.stderr
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payctl.webhook_receipts SET id = %(id)s", {"id": RECEIPT})
    return settings


@pytest.fixture
def shown(shop, payctl_command):
    """Return a function that runs payctl on a terminal of the given width and returns its stdout."""

    def run(*arguments, width=80, **changes):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        process = subprocess.Popen(
            [*payctl_command, *arguments],
            env={**inherited, **shop, "TERM": "xterm", **changes},
            stdin=slave, stdout=slave, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(slave)
        text = b""
        with suppress(OSError):  # Linux raises this error when the other end is closed
            while part := os.read(master, 65536):
                text += part
        stderr = process.communicate(timeout=50)[1].decode()
        os.close(master)
        assert "Traceback" not in stderr
        return text.decode().replace("\r\n", "\n")

    return run


@pytest.mark.parametrize("width", [80, 60, 120, 200])
@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_a_list_has_one_line_for_each_row_and_fits_the_terminal(arguments, width, shown, ask):
    """Below its summary, a list shows each row on one line that fits the terminal, with a short id."""
    ids = [item["id"] for item in ask(*arguments)["items"]]
    lines = COLOURS.sub("", shown(*arguments, width=width)).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == 2 + len(ids)
    for line, whole in zip(lines[2:], ids, strict=True):
        assert whole[:8] in line.split()
        assert whole not in line


def test_a_list_of_payments_shows_order_state_money_and_age(shown):
    """`payctl list payments` shows each payment's order code, state, amount, age and short id in 80 columns."""
    plain = COLOURS.sub("", shown("list", "payments"))
    assert re.search(rf"^{LONGEST_CODE}  COMPLETED  7,200,000 VND  41 min ago +[0-9a-f]{{8}}$", plain, re.MULTILINE)
    wider = COLOURS.sub("", shown("list", "payments", "--tz", "Asia/Ho_Chi_Minh", width=100))
    assert re.search(r"VND  \S+( \w+)?, 41 min ago +[0-9a-f]{8}  MoMo$", wider, re.MULTILINE)


def test_errors_show_when_the_events_were_created_and_their_age(shown, process, shop):
    """On a terminal, `payctl errors` shows instants as lists do.

    If the output is piped, `payctl errors` shows milliseconds.
    """
    plain = COLOURS.sub("", shown("errors"))
    assert re.search(r"\n  created +(\d\d:\d\d|\d+ \w{3}), 3 h ago\n", plain)
    piped = process("errors", **shop).stdout
    assert re.search(r"\ncreated\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", piped)


def test_a_state_has_its_colour(shown):
    """In a list, dead events are red and published events are green, unless NO_COLOR is set."""
    coloured = shown("list", "outbox")
    assert re.search(r"\x1b\[31mdead +\x1b\[0m", coloured)
    assert re.search(r"\x1b\[32mpublished\x1b\[0m", coloured)
    assert "\x1b" not in shown("list", "outbox", NO_COLOR="1")


def test_a_blocked_event_is_shown_as_blocked(shown, engine):
    """On a terminal, a list shows a blocked event in red and any other pending event in yellow."""
    with engine.begin() as connection:
        insert_events(connection, 2)
        connection.exec_driver_sql("""
            UPDATE outbox SET "aggregateId" = (SELECT "aggregateId" FROM outbox WHERE "retryCount" >= 5 LIMIT 1)
            WHERE id = (SELECT max(id) FROM outbox WHERE NOT published AND "retryCount" = 0 AND "publishedAt" IS NULL)
        """)
    text = shown("list", "outbox")
    states = re.findall(r"\x1b\[(\d+)m(\w+) *\x1b\[0m", text)
    assert (states.count(("31", "blocked")), states.count(("33", "pending"))) == (1, 2), states


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_wide_shows_full_values(arguments, shown, ask):
    """With --wide, a list prints one line for each row, with the complete id, even if the terminal is narrow."""
    lines = COLOURS.sub("", shown(*arguments, "--wide", width=40)).splitlines()
    ids = [item["id"] for item in ask(*arguments)["items"]]
    assert [whole for whole in ids if sum(whole in line for line in lines) != 1] == []
    assert len(lines) == len(ids) + 3


@pytest.mark.parametrize("arguments", LISTS[:3], ids=" ".join)
def test_wide_keeps_the_order_codes(arguments, shown, ask):
    """With --wide, a list shows the order code of each row, because operators refer to orders by this code."""
    lines = COLOURS.sub("", shown(*arguments, "--wide", width=40)).splitlines()
    codes = [item["order_code"] for item in ask(*arguments)["items"]]
    assert [code for code in codes if not any(code in line.split() for line in lines)] == []


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_a_pipe_gets_full_values_with_and_without_wide(arguments, process, shop):
    """If the output is piped, a list is tab-separated and shows complete ids, with or without --wide."""
    plain = process(*arguments, **shop).stdout
    assert process(*arguments, "--wide", **shop).stdout == plain
    assert re.search(r"(^|\t)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\t|$)", plain, re.MULTILINE)


@pytest.mark.parametrize("what", ["outbox", "payments", "receipts"])
def test_an_empty_list_is_a_sentence(what, shown):
    """On a terminal, an empty list says that no row matches, instead of printing only a header."""
    text = shown("list", what, "--order-code", "none")
    assert re.fullmatch(r"no (event|payment|receipt) matches\n", text)


def test_a_callback_is_listed_under_the_shop_s_order(shown, engine):
    """`list receipts` shows the shop's order code, or the gateway's number if the receipt has no payment."""
    assert LONGEST_CODE in shown("list", "receipts")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payctl.webhook_receipts SET payment_id = NULL, order_ref = '4711'")
    assert re.search(r"^4711 +settled", COLOURS.sub("", shown("list", "receipts")), re.MULTILINE)


def test_hostile_text_in_a_row_does_not_move_the_cursor(shown, engine):
    """A list escapes the control characters in an error, and its lines still fit the terminal."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """UPDATE outbox SET "lastError" = E'\\x1b[2Jpassword=hunter2 ' || repeat('x', 500)"""
        )
    text = shown("list", "outbox", width=140)
    assert "\x1b[2J" not in text
    assert "hunter2" not in text
    assert max(map(len, COLOURS.sub("", text).splitlines())) <= 140


def test_a_short_id_is_the_id_for_every_command(shop, ask):
    """Each command accepts a short id from a list, and finds the same row as with the complete id."""
    event = ask("list", "outbox", "--failed")["items"][0]
    short, aggregate = event["id"][:8], event["aggregate_id"]
    assert [item["id"] for item in ask("list", "outbox", short)["items"]] == [event["id"]]
    assert [item["id"] for item in ask("list", "payments", aggregate[:8])["items"]] == [aggregate]
    assert [item["id"] for item in ask("list", "receipts", RECEIPT[:8])["items"]] == [RECEIPT]
    assert ask("list", "outbox", "--aggregate", aggregate[:8])["items"][0]["aggregate_id"] == aggregate
    for name in (short, aggregate[:8]):
        assert ask("show", name)["result"]["payment_id"] == aggregate
    assert ask("show", RECEIPT[:8])["result"]["order_code"] == LONGEST_CODE
    assert ask("replay", short, "--dry-run")["counts"]["matched"] == 1
    keys = {name: value for name, value in shop.items() if name != "DATABASE_URL"}
    assert ask("process-webhook", "--receipt", RECEIPT[:8], **keys)["exit_code"] == 0
    assert ask("runs", "show", RUN[:8])["result"]["id"] == RUN
    assert ask("reconcile", "payments", aggregate[:8], "--dry-run")["items"][0]["payment_id"] == aggregate


@pytest.mark.parametrize(
    "arguments",
    [["list", "outbox", "{}"], ["show", "{}"], ["replay", "{}", "--dry-run"], ["list", "outbox", "--aggregate", "{}"],
     ["list", "payments", "{}"], ["reconcile", "payments", "{}", "--dry-run"]],
    ids=" ".join,
)  # fmt: skip
def test_an_ambiguous_short_id_is_refused_with_the_ids(arguments, ask, engine):
    """If a short id matches two ids, the error names both, and the command does not select any row."""
    both = [str(UUID(int=(0xABCDEF12 << 96) + (number << 80))) for number in (1, 2)]
    with engine.begin() as connection:
        for whole in both:
            insert_payment(connection, id=whole)
        insert_events(connection, 2, state="dead")
        connection.exec_driver_sql(
            """UPDATE outbox SET id = ids.whole FROM unnest(%(ids)s, ARRAY(SELECT id FROM outbox)) AS ids (whole, old)
            WHERE id = ids.old""",
            {"ids": both},
        )
    document = ask(*[each.format("abcdef12") for each in arguments])
    assert (document["exit_code"], document["error"]["code"]) == (2, "INPUT")
    assert "the id abcdef12 is ambiguous" in document["error"]["message"]
    assert all(whole in document["error"]["message"] for whole in both)
    assert ask(*[each.format(both[0][:13]) for each in arguments])["exit_code"] != 2


@pytest.mark.parametrize("name", ["abcdef1", "abcdef12", "abcdef1_", "%%%%%%%%", "' OR 1=1"])
def test_an_unknown_short_id_selects_nothing(name, ask):
    """A short id does not select any row if it is too short or if no id starts with it."""
    if " " not in name:
        assert ask("list", "payments", name)["counts"] == {"listed": 0}
    assert ask("show", name)["exit_code"] == 8


def test_a_complete_id_is_never_ambiguous(ask, engine):
    """A complete id is never ambiguous, even if another id starts with it."""
    with engine.begin() as connection:
        insert_payment(connection, id="order-0001")
        insert_payment(connection, id="order-0001-again")
    assert [item["id"] for item in ask("list", "payments", "order-0001")["items"]] == ["order-0001"]
    assert ask("show", "order-0001")["result"]["payment_id"] == "order-0001"
