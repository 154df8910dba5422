"""Test the content and size of ``payctl stats --watch`` on a terminal, and its behaviour during faults."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event

from ticketbottle_payctl.cli.commands.stats.rates import Series, Watched, mean
from ticketbottle_payctl.jobs.stats import By
from ticketbottle_payctl.jobs.stats.live import collect_live
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events

pytestmark = pytest.mark.postgres

WATCH = ("stats", "-w", "--interval", "200ms")
SIZES = [(80, 24), (200, 50), (40, 10), (20, 4)]


@pytest.fixture
def troubled(engine, database_url, process):
    """Insert pending, dead and published events of several types, and a refused callback.

    Return the settings for payctl.
    """
    with engine.begin() as connection:
        order = insert_payment(connection, provider="MOMO", order_code="TB-WATCH-20261129-8D39986M", amount=450_000)
        for kind in ("COMPLETED", "FAILED", "CANCELLED"):
            insert_events(connection, 1500, event_type=f"PAYMENT_{kind}", age=timedelta(hours=2))
        for name in ("timeout", "refused", "\x1b[31m[bold]hostile\u202e"):
            error = f"KafkaJSConnectionError: {name} " + "long " * 40
            insert_events(connection, 2, state="dead", last_error=error, age=timedelta(days=3))
        insert_events(connection, 5, state="published", age=timedelta(minutes=3))
        insert_payments_of_events(connection)
    settings = {**environment(), "DATABASE_URL": database_url}
    body = callback(order, Scenario.WRONG_AMOUNT).body.decode()
    assert process("process-webhook", "-", "--provider", "momo", stdin=body, **settings).returncode == 5
    return settings


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_the_picture_fits_the_terminal(troubled, columns, lines, terminal):
    """At any terminal size, `stats --watch` writes only to rows of the terminal and does not send line feeds."""
    with terminal(*WATCH, columns=columns, lines=lines, **troubled) as it:
        it.wait_for("oldest")
        it.read(1.5)
        sent = it.sent.decode()
        rows = {int(row) for row in re.findall(r"\x1b\[(\d+);1H", sent)}
        assert max(rows) <= lines
        assert "\n" not in sent.partition("\x1b[?1049h")[2]
        assert it.end() == 130


def test_the_live_screen_shows_what_an_operator_needs(troubled, terminal):
    """At 80x24, `stats --watch` shows the verdict, causes, commands, rates, lag, publishers and refused callbacks."""
    with terminal(*WATCH, **troubled) as it:
        it.wait_for("/s")
        lines = it.wait_for("refused callbacks").splitlines()
        picture = "\n".join(lines)
        assert re.match(r"!  oldest pending event: 2 h.*  6 dead", lines[0])
        assert lines[1].startswith("profile none · database 127.0.0.1:")
        for part in (
            "     payctl publish-outbox",
            r"in +0/s",
            r"lag +2 h",
            r"pending 4,500 +dead 6",
            r"1,500  COMPLETED  2 h ago",
            r"2  [0-9a-f]{8}  Kafka",
            "publishers",
            r"[0-9a-f]{8}  MoMo  wrong amount",
            r"every 200 ms · q or Ctrl-C to quit",
        ):
            assert re.search(part, picture), part
        assert "\x1b[31m[bold]" not in it.sent.decode()
        assert it.end() == 130


def test_the_ids_of_a_blocked_event_are_short(engine, database_url, terminal):
    """At 80 columns, `stats --watch` shows a line about a blocked event completely, because the line has short ids."""
    with engine.begin() as connection:
        insert_events(connection, 2, aggregates=1, age=timedelta(hours=1))
        connection.exec_driver_sql(
            """UPDATE outbox SET "retryCount" = 5, "lastError" = 'timeout', "eventType" = 'PAYMENT_FAILED'"""
            """ WHERE "createdAt" = (SELECT min("createdAt") FROM outbox)"""
        )
        insert_payments_of_events(connection)
    with terminal(*WATCH, DATABASE_URL=database_url) as it:
        picture = it.wait_for("refused callbacks")
        assert re.search(r" TB-\S+ \([0-9a-f]{8}\) waits behind dead event [0-9a-f]{8}\n", picture)
        assert it.end() == 130


def test_a_publisher_without_brokers_is_marked(engine, database_url, terminal):
    """`stats --watch` says which publisher cannot reach its brokers, and names the brokers as the cause."""
    with engine.begin() as connection:
        insert_events(connection, 1, age=timedelta(hours=1))
        owner = "pay-1:12:x cannot reach its brokers: Kafka at b:9092 is not available"
        row = "INSERT INTO payctl.publishers VALUES (1, %(owner)s, clock_timestamp() - interval '20 s')"
        connection.exec_driver_sql(row, {"owner": owner})
    with terminal(*WATCH, DATABASE_URL=database_url) as it:
        it.wait_for("refused callbacks")
        picture = it.picture()
        assert re.search(r"\nno brokers \S+ \S+ ago  pay-1:12", picture), picture
        assert "publisher pay-1:12 could not reach its brokers" in picture
        assert it.end() == 130


def test_a_publisher_has_one_line(database_url, mock_kafka, started, terminal):
    """`stats --watch` shows one line for a publisher, even if the publisher has two sessions and three shards."""
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, "PAYCTL_SHARDS": "3"}
    process = started("publish-outbox", "--loop", **places)
    said = iter(process.stderr.readline, b"")
    assert any(b"ready" in line for line in said)
    with terminal(*WATCH, **places) as it:
        it.wait_for(f"{socket.gethostname()}:"[:20])
        lines = it.picture().splitlines()
        first = next(place for place, row in enumerate(lines) if row.startswith("publishers"))
        shown = [row[:38].strip() for row in lines[first + 1 : -1] if row[:38].strip()]
        assert (len(shown), "pid " in str(shown)) == (1, False), shown
        assert it.end() == 130


def test_the_live_screen_of_an_empty_outbox_has_a_tick(database_url, terminal):
    """If the outbox is empty, `stats --watch` shows ✔, and says that each of its lists is empty."""
    with terminal(*WATCH, DATABASE_URL=database_url) as it:
        picture = it.wait_for("no callback is stored yet")
        assert picture.startswith("✔  nothing is pending\n")
        assert [
            part
            for part in ("no event is waiting", "no event is out of retries", "none has run yet")
            if part in picture
        ]
        assert it.end() == 130


def test_a_refresh_sends_only_the_rows_that_changed(troubled, terminal):
    """On average, a refresh of `stats --watch` sends less than a third of the terminal's 24 rows."""
    with terminal(*WATCH, **troubled) as it:
        it.wait_for("/s")
        it.read(1.5)
        it.sent = b""
        for _ in range(6):
            it.read(0.5)
        rows = [int(row) for row in re.findall(rb"\x1b\[(\d+);1H", it.sent)]
        pictures = 1 + sum(earlier >= later for earlier, later in pairwise(rows))
        assert pictures > 1
        assert len(rows) / pictures < 24 / 3
        assert it.end() == 130


def test_a_new_size_of_the_terminal_is_used(troubled, terminal):
    """If the terminal becomes larger, `stats --watch` uses the whole new size."""
    with terminal(*WATCH, **troubled) as it:
        it.wait_for("Ctrl-C to quit")
        it.resize(120, 40)
        picture = it.wait_for("Ctrl-C to quit").splitlines()
        assert "Ctrl-C to quit" in picture[39]
        assert it.end() == 130


@pytest.mark.parametrize(("keys", "code"), [(b"q", 0), (b"\x03", 130)])
def test_the_terminal_is_restored(troubled, keys, code, terminal):
    """`stats --watch` exits with 0 after q, and with 130 after Ctrl-C.

    Afterwards, the normal screen shows the last state and the suggested commands, and the cursor is visible.
    """
    with terminal(*WATCH, fresh=True, **troubled) as it:
        it.wait_for("Ctrl-C to quit")
        it.press(keys)
        assert it.finish() == code
        end = it.sent.decode().rpartition("\x1b[?7h\x1b[?25h\x1b[?1049l")[2]
        assert end.startswith("\x1b[33m!")
        assert "oldest pending event" in end
        assert "payctl replay --failed --error-group" in end
        assert "Traceback" not in it.sent.decode()


def test_ctrl_z_restores_the_terminal_and_fg_redraws_the_screen(troubled, terminal):
    """In `stats --watch`, Ctrl-Z restores the normal screen, and SIGCONT draws the live screen again."""
    with terminal(*WATCH, fresh=True, **troubled) as it:
        it.wait_for("Ctrl-C to quit")
        it.press(b"\x1a")
        end = time.monotonic() + 20
        while not it.sent.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l"):
            assert time.monotonic() < end
            it.read(0.3)
        it.sent = b""
        os.kill(it.process.pid, signal.SIGCONT)
        assert it.wait_for("Ctrl-C to quit").startswith("!  oldest pending event")
        assert it.end() == 130


def test_a_watch_reports_a_lost_database_and_recovers(troubled, postgres, terminal):
    """If the database fails, `stats --watch` keeps its figures, and a new first line says when they were read.

    The next successful reading removes this line.
    """
    with terminal(*WATCH, **troubled) as it:
        it.wait_for("Ctrl-C to quit")
        postgres.stop("immediate")
        try:
            picture = it.wait_for("the database has not answered for")
            assert re.match(
                r"!  the database has not answered for \S+ \w+; the figures are from \d\d:\d\d:\d\d", picture
            )
            assert "4,500" in picture
        finally:
            postgres.restart()
        it.wait_for("!  oldest pending event")
        assert it.end() == 130


def test_a_database_that_never_answered_ends_the_command(terminal):
    """If the first reading fails, `stats --watch` exits with 4 and prints the error on the normal screen."""
    with terminal(*WATCH, DATABASE_URL="postgresql://u:p@127.0.0.1:9/none") as it:
        assert it.finish() == 4
        assert "error[DATABASE_UNAVAILABLE]" in it.sent.decode().rpartition("\x1b[?1049l")[2]


@pytest.mark.parametrize("name", [{"TERM": "dumb"}, {"TERM": ""}])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(troubled, name, terminal):
    """If the terminal cannot move its cursor, `stats --watch` prints lines without control sequences."""
    with terminal(*WATCH, **(troubled | name)) as it:
        it.wait_for("4500")
        assert it.end() == 130
        assert "\x1b" not in it.sent.decode()


def test_no_color_draws_without_colours(troubled, terminal):
    """With --color never, `stats --watch` does not use colours, but the mark still shows the outbox's state."""
    with terminal(*WATCH, **troubled) as it:
        it.wait_for("Ctrl-C to quit")
        assert "\x1b[31m" in it.sent.decode()
        it.end()
    with terminal(*WATCH, "--color", "never", **troubled) as it:
        assert it.wait_for("Ctrl-C to quit").startswith("!")
        assert re.findall(r"\x1b\[[0-9;]*m", it.sent.decode()) == []
        it.end()


@pytest.mark.usefixtures("troubled")
def test_a_reading_has_a_fixed_number_of_statements(engine):
    """The number of statements in a reading of `stats --watch` does not depend on the number of rows or groups."""
    for by in (By.TYPE, By.ERROR):
        counted = []
        event.listen(engine, "before_cursor_execute", lambda *call, into=counted: into.append(call[2]))
        collect_live(engine, max_retries=5, by=by, created_after=datetime.now(UTC) - timedelta(seconds=10))
        assert len(counted) <= 22


def test_rates_are_differences_of_two_readings(engine):
    """The rates of `stats --watch` count the events that were created or left the backlog between two readings."""

    def read():
        return collect_live(engine, max_retries=5, created_after=watched.counted_from)

    watched = Watched()
    with engine.begin() as connection:
        insert_events(connection, 10, age=timedelta(days=2))
    watched.add(read())
    assert (watched.in_per_s, watched.out_per_s) == (None, None)
    time.sleep(0.2)  # the events are a millisecond apart, and the last one is created now
    with engine.begin() as connection:
        insert_events(connection, 30)
        connection.exec_driver_sql(
            'UPDATE outbox SET published = true, "publishedAt" = now()'
            """ WHERE "createdAt" < now() - interval '1 day' """
        )
    report = watched.add(read())
    seconds = (report.stats.at - watched.began).total_seconds()
    assert watched.in_per_s * seconds == pytest.approx(30)
    assert watched.out_per_s * seconds == pytest.approx(10)


def test_a_long_session_stays_bounded():
    """After 20,000 readings, `stats --watch` keeps at most 240 points, which still include the greatest lag."""
    lag, rates = Series(max), Series(mean)
    for number in range(20_000):
        lag.add(900.0 if number == 777 else 1.0)
        rates.add(5.0)
    assert len(lag.points(1000)) <= 240
    assert max(lag.points(60)) == 900.0
    assert len(lag.points(60)) == 60
    assert set(rates.points(60)) == {5.0}
