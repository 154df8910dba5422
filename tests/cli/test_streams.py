"""Test that a command with closed or full streams reports no internal error, and does not hide what it changed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import timedelta

import pytest

from tests.cli.conftest import clean_environment
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

READ = {
    "verify-signature": ["--example", "momo"],
    "show": ["no-such-order"],
    "close": ["no-such-order"],
    "runs show": ["no-such-run"],
    "runs resume": ["no-such-run"],
    "runs cancel": ["no-such-run", "-y"],
    "replay": ["--failed", "-n"],
    "simulate": ["momo", "paid"],
    "schema": ["stats"],
    "completion": ["bash"],
    "process-webhook": ["--example", "momo"],
    "publish-outbox": ["-n"],
    "cleanup": ["-n"],
    "cdc config": ["--slot", "x"],
}
"""Arguments with which a command only reads or fails early. A command that is not listed needs no arguments."""

LASTING = {"listen", "demo", "db upgrade"}
"""Commands that this file does not test, because they run until a signal or have tests in another file."""

STREAMS = {
    "closed stdout": ">&-",
    "closed stderr": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "full stdout": ">/dev/full",
    "full stderr": "2>/dev/full",
    "both full": ">/dev/full 2>/dev/full",
    "stdout without reader": ">&9",
    "stderr without reader": "2>&9",
}
"""Shell redirections by name. Descriptor 9 is a pipe without a reader."""

THREE = ("all closed", "both full", "stdout without reader")
"""The redirections that are tested with every command. The list is short, because each test starts a process."""


@pytest.fixture
def ran(command):
    """Return a function that runs payctl with unusable streams and returns the exit code, stdout and stderr."""

    def run(streams, *arguments, **environment):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            words = [*command(environment), *arguments]
            return subprocess.run(
                ["/bin/bash", "-c", f'exec 9>&{writer}; exec "$@" {streams} 9>&-', "bash", *words],
                env=clean_environment(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                pass_fds=[writer], timeout=60, check=False,
            )  # fmt: skip
        finally:
            os.close(writer)

    return run


@pytest.fixture
def places(database_url, mock_kafka):
    """Return the settings for the test's database and the mock cluster."""
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


@pytest.mark.parametrize("name", [entry.name for entry in registry.COMMANDS if entry.name not in LASTING])
def test_a_reading_command_keeps_its_exit_code_on_unusable_streams(name, ran, invoke, places):
    """On unusable streams, a command that only reads keeps its exit code.

    However, a full stdout changes exit code 0 to 4.
    """
    arguments = [*name.split(), *READ.get(name, []), "-o", "json"]
    usual = invoke(*arguments, **places)
    assert usual.exit_code != 1, usual.stderr
    for which in THREE:
        result = ran(STREAMS[which], *arguments, **places)
        assert result.returncode == (usual.exit_code or (4 if which == "both full" else 0)), (which, result.stderr)
        assert "Traceback" not in result.stderr, which


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["runs"]])
@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_help_and_version_on_unusable_streams_report_no_internal_error(streams, arguments, ran):
    """On unusable streams, help and version do not report an internal error.

    Only a full stdout is an error, with exit code 4.
    """
    result = ran(streams, *arguments)
    refused = arguments == ["runs"]
    assert result.returncode == (2 if refused else 4 if streams.startswith(">/dev/full") else 0), result.stderr
    assert ("no space left on device" in result.stderr) is (streams == ">/dev/full" and not refused)
    assert "Traceback" not in result.stderr
    assert "INTERNAL" not in result.stdout + result.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["version", "-o", "json"], ["--version"]])
def test_a_full_stdout_is_reported_with_and_without_a_buffer(arguments, unbuffered, ran):
    """`payctl` reports a full stdout and exits with 4, with and without PYTHONUNBUFFERED."""
    result = ran(">/dev/full", *arguments, PYTHONUNBUFFERED=unbuffered)
    assert result.returncode == 4
    assert "no space left on device" in result.stderr


@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_completion_on_unusable_streams_prints_no_traceback(streams, ran):
    """Completion does not print a traceback on closed or full streams."""
    asked = {"_PAYCTL_COMPLETE": "complete_bash", "COMP_WORDS": "payctl st", "COMP_CWORD": "1"}
    result = ran(streams, **asked)
    assert result.returncode == (4 if streams.startswith(">/dev/full") else 0)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("which", "form"), [*((which, "ndjson") for which in STREAMS), ("full stdout", "csv"), ("full stdout", "table")]
)
def test_a_long_list_on_unusable_streams_fails_only_on_a_full_disk(which, form, ran, places, engine):
    """`payctl list outbox --all` fails if the disk is full, but not if a stream is closed."""
    streams = STREAMS[which]
    with engine.begin() as connection:
        insert_events(connection, 500)
    result = ran(streams, "list", "outbox", "--all", "-o", form, **places)
    assert result.returncode == (4 if streams.startswith(">/dev/full") else 0), result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stdout) > 10_000 or ">" in streams.replace("2>", "")


CHANGES = {
    "publish-outbox": (
        ["publish-outbox"],
        "SELECT count(*) FROM outbox WHERE published AND payload::text <> '{}'",
        2,
        6,
    ),
    "cleanup": (["cleanup"], """SELECT 1 - count(*) FROM outbox WHERE id = 'old'""", 1, 0),
    "replay": (
        ["replay", "--failed", "-y"],
        """SELECT count(*) FROM outbox WHERE "retryCount" = 0 AND id = 'dead'""",
        1,
        0,
    ),
    "db upgrade": (["db", "upgrade"], "SELECT 1", 1, 0),
}
"""Each command with its arguments, a query, the query's expected result, and the expected exit code."""


@pytest.fixture
def world(engine):
    """Insert two pending events, an old published event and a dead event."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(days=30))
        insert_events(connection, 1, state="dead", last_error="x")
        insert_events(connection, 2)
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE outbox SET id = 'old', payload = '{}' WHERE published")
        connection.exec_driver_sql("""UPDATE outbox SET id = 'dead' WHERE "retryCount" > 0""")


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_on_unusable_streams_is_committed_and_keeps_its_exit_code(name, streams, ran, places, engine):
    """If stdout is full after a commit, a command keeps its exit code and reports the full disk on stderr."""
    arguments, sql, expected, code = CHANGES[name]
    result = ran(streams, *arguments, "-o", "json", **places)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(sql).scalar_one() == expected
    assert result.returncode == code, result.stderr
    assert ("no space left on device" in result.stderr) is (streams == ">/dev/full")
    assert "the command's work is done" in result.stderr or streams != ">/dev/full"


@pytest.mark.parametrize("streams", [each for each in STREAMS.values() if "2>" in each])
def test_a_publisher_continues_without_a_stderr(streams, places, engine, payctl_command):
    """A publisher that cannot write log lines keeps publishing, and SIGTERM still stops it."""
    reader, writer = os.pipe()
    os.close(reader)
    command = ["/bin/bash", "-c", f'exec 9>&{writer}; exec "$@" {streams} 9>&-', "bash", *payctl_command]
    with subprocess.Popen(
        [*command, "publish-outbox", "--loop", "-v"], env=clean_environment(places), pass_fds=[writer]
    ) as process:
        os.close(writer)
        try:
            for number in (1, 2):
                with engine.begin() as connection:
                    insert_events(connection, 1)
                deadline = time.monotonic() + 20
                while _published(engine) < number:
                    assert time.monotonic() < deadline, process.poll()
                    time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 143
        finally:
            process.kill()


def _published(engine):
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM outbox WHERE published").scalar_one()
