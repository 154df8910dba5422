"""Test that commands draw a progress bar only if stderr is a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from datetime import timedelta

import pytest

from tests.cli.conftest import clean_environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = pytest.mark.postgres

LONG = [
    (["cleanup"], "deleting", "3/?"),
    (["cleanup", "--older-than", "2d", "-y"], "deleting", "3/3"),
    (["cleanup", "-n"], "counting", "0/?"),
    (["replay", "--failed", "--rate", "50/s", "-y"], "requeueing", "4/4"),
    (["doctor", "--fix-published-flags", "-y"], "repairing", "2/2"),
]
"""Commands that take a long time, each with the label and final count of its bar. A routine cleanup has no total."""


@pytest.fixture
def typed(engine, database_url, payctl_command):
    """Return a function that runs a command with a terminal or pipe as stderr.

    The function returns the exit code and the output.
    """
    with engine.begin() as connection:
        insert_events(connection, 3, state="published", age=timedelta(days=8))
        insert_events(connection, 4, state="dead", last_error="x")
        insert_events(connection, 2, state="sent_unmarked")
        insert_payments_of_events(connection)

    def run(*arguments, terminal):
        master, slave = pty.openpty() if terminal else os.pipe()
        environment = clean_environment({"DATABASE_URL": database_url, "TERM": "xterm", "COLUMNS": "120"})
        with subprocess.Popen(
            [*payctl_command, *arguments, "-o", "json"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave,
        ) as process:  # fmt: skip
            os.close(slave)
            err = _read(master)
            out = process.stdout.read()
            code = process.wait(30)
        os.close(master)
        return code, out.decode(), err.decode()

    return run


def _read(descriptor):
    """Read until the other side closes the stream. On a terminal, reading then raises OSError."""
    seen = b""
    try:
        while more := os.read(descriptor, 65536):
            seen += more
    except OSError:
        pass
    return seen


@pytest.mark.parametrize(("arguments", "word", "end"), LONG)
def test_a_progress_bar_is_drawn_on_a_terminal_s_stderr(typed, arguments, word, end):
    """`payctl` draws a progress bar on a terminal's stderr, and prints only the document on stdout."""
    code, out, err = typed(*arguments, terminal=True)
    assert (code, json.loads(out)["exit_code"]) == (0, 0)
    assert {word, "━", end} == {part for part in (word, "━", end) if part in err}
    assert "\x1b" not in out


@pytest.mark.parametrize(("arguments", "word", "end"), LONG)
def test_no_progress_bar_is_written_to_a_pipe(typed, arguments, word, end):
    """If stderr is a pipe, payctl writes neither a progress bar nor a control sequence."""
    code, out, err = typed(*arguments, terminal=False)
    assert (code, json.loads(out)["exit_code"]) == (0, 0)
    assert not {part for part in (word, "━", end, "\x1b") if part in err}
    assert "\x1b" not in out


def test_quiet_draws_no_progress_bar(typed):
    """With -q, payctl does not draw a progress bar, even on a terminal."""
    code, out, err = typed("-q", "cleanup", terminal=True)
    assert (code, json.loads(out)["exit_code"], "━" in err, "deleting" in err) == (0, 0, False, False)
