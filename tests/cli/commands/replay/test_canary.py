"""Test what a replay prints while it waits for its canary.

Some tests have a terminal, and in some tests a publisher is running.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest

from tests.cli.commands.replay.conftest import pending
from tests.cli.conftest import clean_environment
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("dead")]
WAITING = ["replay", "--failed", "-y", "--canary", "2", "--canary-timeout"]


@pytest.fixture
def publisher(started, database_url, mock_kafka):
    """Start a publisher and wait until it is ready. A test can suspend the process."""
    services = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    process = started("publish-outbox", "--loop", **services, PYTHONHASHSEED="random")
    ready = b""
    wait_until(lambda: b"ready" in (ready + os.read(process.stderr.fileno(), 4096)), what="the publisher", timeout=20)
    return process


@pytest.fixture
def on_terminal(database_url, payctl_command):
    """Return a function that runs payctl with a terminal as stderr.

    The function returns the document and the visible text.
    """

    def run(*arguments):
        master, slave = pty.openpty()
        environment = clean_environment({"DATABASE_URL": database_url, "TERM": "xterm", "COLUMNS": "80"})
        with subprocess.Popen(
            [*payctl_command, *arguments, "-o", "json"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave,
        ) as process:  # fmt: skip
            os.close(slave)
            seen = b""
            try:
                while more := os.read(master, 65536):
                    seen += more
            except OSError:  # Linux raises this error when the other end is closed
                pass
            document = json.loads(process.stdout.read())
        os.close(master)
        return document, seen.decode()

    return run


def test_a_terminal_shows_a_countdown_while_the_canary_waits(on_terminal):
    """A replay that waits for its canary shows the published events, the time left, and the publisher's state."""
    document, shown = on_terminal(*WAITING, "4s")
    assert (document["exit_code"], document["result"]["publisher_running"]) == (10, False)
    left = [int(each) for each in re.findall(r"canary: 0 of 2 published, (\d) s left", shown)]
    assert set(left) >= {3, 2, 1}
    assert "left; no publisher is running" in shown
    assert ("under 1 s left" in shown, "0 ms left" in shown) == (True, False)
    assert shown.count("(none has ever been seen):") == 1
    assert sum("published," in line for line in shown.split("\n")) <= 2


def test_without_a_terminal_the_canary_writes_a_line_only_for_a_change(process, database_url):
    """Without a terminal, a replay that waits for its canary reports its progress only when the counts change.

    Each report is one line and one log event.
    """
    result = process(*WAITING, "2s", DATABASE_URL=database_url)
    assert result.returncode == 10
    said = [line for line in result.stderr.splitlines() if line.startswith("canary:") and "published," in line]
    assert said == ["canary: 0 of 2 published, 2 s left; no publisher is running"]
    logged = [json.loads(line) for line in result.stderr.splitlines() if "replay_canary_waiting" in line]
    assert [(each["published"], each["events"], each["publisher_running"]) for each in logged] == [(0, 2, False)]
    assert result.stdout.startswith("!  stopped: the canary was not published in time\n")
    assert "publisher\tno publisher is running; none has ever been seen" in result.stdout
    assert "next\tpayctl publish-outbox" in result.stdout
    assert re.search(r"then\tpayctl runs resume \S+", result.stdout)


def test_a_waiting_canary_recognises_an_idle_publisher(database_url, publisher, engine, payctl_command):
    """A replay that waits for its canary detects an idle publisher, even if the canary's events are locked."""
    publisher.send_signal(signal.SIGSTOP)  # the publisher must not send the events before this test locks them
    with engine.connect() as holder, holder.begin():
        replay = subprocess.Popen(
            [*payctl_command, *WAITING, "3s"],
            env=clean_environment({"DATABASE_URL": database_url}), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            rows = 'SELECT id FROM outbox WHERE "retryCount" = 0 FOR NO KEY UPDATE SKIP LOCKED'
            if holder.exec_driver_sql(rows).all():
                break
        publisher.send_signal(signal.SIGCONT)
        out, err = replay.communicate(timeout=30)
    assert publisher.poll() is None
    assert replay.returncode == 10
    assert "a publisher is running" in out
    assert "no publisher" not in out + err


@pytest.mark.usefixtures("publisher")
def test_a_replay_continues_after_its_canary_is_published(ask):
    """After the canary is published, a replay requeues the other events, and reports that a publisher is running."""
    document = ask(*WAITING, "30s")
    assert (document["exit_code"], document["counts"]["requeued"]) == (0, 3)
    assert document["result"]["publisher_running"] is True


def test_a_canary_that_cannot_see_its_result_replays_nothing_else(started, database_url, engine, ask):
    """If a replay cannot read its canary's state, it exits with 4, requeues no other event and suggests a resume."""
    replay = started(*WAITING, "5m", "-o", "json", DATABASE_URL=database_url)
    wait_until(lambda: pending(engine) == 2, what="the canary to be requeued", timeout=20)
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        document = json.loads(replay.communicate(timeout=30)[0])
    assert (replay.returncode, document["exit_code"], document["ok"]) == (4, 4, False)
    assert (document["error"]["code"], "payctl runs resume" in document["error"]["hint"]) == (
        "DATABASE_UNAVAILABLE",
        True,
    )
    (run,) = ask("runs", "list")["items"]
    assert (run["status"], run["ended_by"], pending(engine)) == ("interrupted", "DATABASE_UNAVAILABLE", 2)
