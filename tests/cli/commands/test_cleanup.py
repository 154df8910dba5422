"""Test that `payctl cleanup` obeys its options and guards, reports what it deleted, and records its run."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from tests.cli.documents import validate
from ticketbottle_payctl.archive_file import read

OLD = timedelta(days=8)


@pytest.fixture
def events(engine):
    """Return a function that returns the event count."""

    def run():
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one()

    return run


@pytest.fixture
def clean(answer, database_url):
    """Return a function that runs `payctl cleanup` with the given arguments and returns its validated document."""

    def run(*arguments, **environment):
        document = answer("cleanup", *arguments, DATABASE_URL=database_url, **environment)
        known = validate(document, "cleanup")["then"]["properties"]
        assert set(document["result"]) <= set(known["result"]["properties"])
        assert set(document["counts"]) <= set(known["counts"]["properties"])
        return document

    return run


@pytest.fixture
def guarded(tmp_path, database_url, answer, insert):
    """Return a function that inserts 3 old events and runs a cleanup with the given guard and arguments."""

    def run(guard, *arguments):
        insert(3, state="published", age=OLD)
        file = tmp_path / "config.toml"
        file.write_text(f'[profiles.prod]\nDATABASE_URL = "{database_url}"\n[profiles.prod.guard]\n{guard}\n')
        return answer("cleanup", *arguments, "--config", str(file), "-p", "prod")

    return run


def test_a_cleanup_reports_counts_horizon_bytes_and_batches(clean, insert, events):
    """With the configured retention, `cleanup` does not need --yes, and its document contains all fields."""
    insert(5, state="published", age=OLD)
    insert(1, state="dead")
    insert(2)
    document = clean("--batch-size", "2")
    wanted = {"matched": 5, "deleted": 5, "archived": 0, "pending": 2, "dead": 1}
    assert document["exit_code"] == 0
    assert wanted.items() <= document["counts"].items()
    assert (document["result"]["batches"], document["result"]["bytes"] > 0) == (3, True)
    assert document["result"]["horizon"].endswith("Z")
    assert document["items"][0]["error"] == "unknown event type"
    assert events() == 3


def test_a_cleanup_uses_the_configured_retention(clean, insert, events):
    """`cleanup` uses OUTBOX_RETENTION_DAYS if --older-than is not given."""
    insert(2, state="published", age=OLD)
    assert clean(OUTBOX_RETENTION_DAYS="9")["counts"]["deleted"] == 0
    assert clean("--older-than", "9d")["counts"]["deleted"] == 0
    assert events() == 2


def test_keep_newest_overrides_a_shorter_retention(clean, insert, events):
    """`cleanup` keeps the events that --keep-newest protects, even if --older-than is shorter."""
    insert(2, state="published", age=timedelta(hours=3))
    insert(3, state="published", age=timedelta(hours=9))
    document = clean("--older-than", "1h", "--keep-newest", "6h", "-y")
    assert (document["exit_code"], document["counts"]["deleted"], events()) == (0, 3, 2)


def test_a_dry_run_of_the_cleanup_reports_rows_and_bytes(clean, invoke, database_url, insert, events):
    """A dry run of `cleanup` deletes nothing and does not need --yes, regardless of the retention."""
    insert(3, state="published", age=OLD)
    document = clean("-n", "--older-than", "1h")
    assert (document["dry_run"], document["counts"]["matched"], document["counts"]["deleted"]) == (True, 3, 0)
    assert document["result"]["bytes"] > 0
    assert invoke("cleanup", "-n", DATABASE_URL=database_url).stdout.startswith("would delete 3 events  about ")
    assert events() == 3


@pytest.mark.parametrize(
    "arguments", [["--older-than", "6d"], ["--receipts-older-than", "1d"], ["--max-affected", "2"]]
)
def test_a_cleanup_that_is_not_routine_needs_yes(clean, insert, events, arguments):
    """Without --yes, `cleanup` refuses a shorter retention, deleting receipts, and more rows than the limit."""
    insert(3, state="published", age=OLD)
    document = clean(*arguments)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert events() == 3


def test_yes_allows_a_cleanup_up_to_the_limit(clean, insert, events):
    """With --yes, `cleanup` accepts a shorter retention, but does not delete more rows than --max-affected."""
    insert(3, state="published", age=OLD)
    assert clean("--older-than", "1h", "-y", "--max-affected", "2")["exit_code"] == 7
    assert clean("--older-than", "1h", "-y")["counts"]["deleted"] == 3
    assert events() == 0


def test_a_routine_cleanup_has_no_limit_unless_one_is_given(clean, insert):
    """A routine cleanup deletes any number of events, unless --max-affected sets a limit."""
    insert(1200, state="published", age=OLD)
    assert clean("--max-affected", "1000")["exit_code"] == 7
    assert clean()["counts"]["deleted"] == 1200


@pytest.mark.parametrize(
    ("guard", "arguments", "allowed"),
    [
        ("read_only = true", ["-y"], False),
        ("read_only = true", ["-n"], True),
        ("protected = true", ["-y"], False),
        ("protected = true", ["--reason", "disk", "--confirm", "staging"], False),
        ("protected = true", ["--reason", "disk", "--confirm", "prod"], True),
        ("max_affected = 2", [], False),
        ("max_affected = 3", [], True),
    ],
)
def test_a_profile_s_guards_apply_to_the_cleanup(guarded, guard, arguments, allowed):
    """The read_only, protected and max_affected guards can stop a cleanup."""
    assert guarded(guard, *arguments)["exit_code"] == (0 if allowed else 7)


@pytest.mark.parametrize(
    ("own", "environment", "routine"),
    [
        ("30", {"OUTBOX_RETENTION_DAYS": "7"}, False),
        ("30", {"OUTBOX_RETENTION_DAYS": "30"}, True),
        ("7", {"OUTBOX_RETENTION_DAYS": "30"}, True),
        ("7", {}, True),
        (None, {"OUTBOX_RETENTION_DAYS": "7"}, True),
    ],
)
def test_a_retention_of_the_environment_below_the_profiles_needs_a_yes(
    answer, database_url, insert, events, tmp_path, own, environment, routine
):
    """If an environment variable sets a shorter retention than the profile, `cleanup` needs --yes.

    A longer retention does not need --yes.
    """
    insert(2, state="published", age=timedelta(days=20))
    insert(3, state="published", age=timedelta(days=60))
    file = tmp_path / "config.toml"
    kept = f'OUTBOX_RETENTION_DAYS = "{own}"\n' if own else ""
    file.write_text(f'[profiles.shop]\nDATABASE_URL = "{database_url}"\n{kept}')
    settings = ["--config", str(file), "-p", "shop"]
    before = events()
    document = answer("cleanup", *settings, **environment)
    assert (document["exit_code"], events() < before) == ((0, True) if routine else (7, False))
    assert answer("cleanup", *settings, "-y", **environment)["exit_code"] == 0
    assert events() < before


def test_a_cleanup_writes_an_archive_and_reports_it(clean, insert, tmp_path):
    """The JSON document of `cleanup` contains the archive's path and the count of archived events."""
    insert(3, state="published", age=OLD)
    path = tmp_path / "gone.ndjson.gz"
    document = clean("--archive", str(path))
    assert (document["counts"]["archived"], document["result"]["archive"]) == (3, str(path))
    assert len(list(read(path))) == 3


@pytest.mark.parametrize("name", ["events.ndjson", "missing/events.gz"])
def test_an_impossible_archive_is_refused_before_anything_is_deleted(clean, insert, events, tmp_path, name):
    """If `cleanup` cannot use the archive file, it exits with 2 and deletes nothing."""
    insert(3, state="published", age=OLD)
    assert clean("--archive", str(tmp_path / name))["exit_code"] == 2
    assert events() == 3


def test_a_cleanup_that_reaches_its_time_limit_exits_with_10(clean, insert):
    """If `cleanup` reaches its time limit, it exits with 10, and its deletions stay committed."""
    insert(5, state="published", age=OLD)
    document = clean("--batch-size", "1", "--max-duration", "1ms")
    assert (document["exit_code"], document["result"]["stopped_because"]) == (10, "deadline")


def test_a_cleanup_reports_dead_and_pending_events(invoke, database_url, insert):
    """`cleanup` prints the count of dead events, the age and error of the oldest one, and a command to run next."""
    insert(2, state="dead", age=timedelta(days=3, hours=4), last_error="boom \x1b]0;title\x07")
    insert(1, age=timedelta(hours=2))
    result = invoke("cleanup", DATABASE_URL=database_url)
    assert "dead\t2, the oldest is 3 d 4 h old\n" in result.stdout
    assert "boom" in result.stdout
    assert "\x1b" not in result.stdout
    assert '"message": "outbox_dead_events"' in result.stderr
    assert "`payctl errors` shows what to do" in result.stderr


def test_a_cleanup_on_a_terminal_opens_with_the_answer(database_url, insert, terminal):
    """On a terminal, `cleanup` prints the result first and the warnings last, and hides the log lines."""
    insert(2, state="dead", age=timedelta(days=3), last_error="KafkaJSConnectionError: Connection timeout")
    insert(1, age=timedelta(hours=2))
    with terminal("cleanup", "-n", DATABASE_URL=database_url) as it:
        assert it.finish() == 0
        lines = it.text().splitlines()
    assert lines[0] == "nothing to delete"
    text = "\n".join(lines)
    assert "KafkaJSConnectionError: " in text
    assert ("outbox_dead_events" in text, "counting" in text) == (False, False)
    assert lines[-2:] == [
        "warning: 2 dead events left in the outbox; `payctl errors` shows what to do",
        "warning: 1 event pending for more than an hour; `payctl stats` says why",
    ]


def test_log_lines_are_printed_above_a_progress_bar(database_url, insert, terminal):
    """If LOG_LEVEL is set, `cleanup` prints each log entry on its own line and leaves no trace of the progress bar."""
    insert(1, state="dead", age=timedelta(days=3))
    with terminal("cleanup", "-n", DATABASE_URL=database_url, LOG_LEVEL="info", columns=400) as it:
        assert it.finish() == 0
        lines = it.text().splitlines()
    assert json.loads(lines[0])["message"] == "outbox_dead_events"
    assert lines[1] == "nothing to delete"


@pytest.mark.parametrize(
    ("arguments", "deleted"), [([], 3), (["--keep-newest", "200h"], 0), (["--keep-newest", "6h"], 3)]
)
def test_keep_newest_is_a_minimum_for_the_retention(clean, insert, arguments, deleted):
    """A --keep-newest that is shorter than the retention has no effect on `cleanup`."""
    insert(3, state="published", age=OLD)
    assert clean(*arguments)["counts"]["deleted"] == deleted


def test_a_short_retention_does_not_delete_the_newest_events(clean, insert, events):
    """With --keep-newest 6h, `cleanup --older-than 1h` does not delete any event from the last six hours."""
    insert(2, state="published", age=timedelta(hours=3))
    insert(3, state="published", age=timedelta(hours=7))
    assert clean("--older-than", "1h", "--keep-newest", "6h", "-y")["counts"]["deleted"] == 3
    assert events() == 2


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batch_size_is_the_number_of_events_in_a_transaction(clean, insert, size):
    """`cleanup` deletes at most --batch-size events in each transaction."""
    insert(5, state="published", age=OLD)
    assert clean("--batch-size", str(size))["result"]["batches"] == -(-5 // size)


def test_a_cleanup_that_deletes_events_is_recorded(clean, insert, answer, database_url):
    """A cleanup that deletes events is recorded with its actor, reason and counts.

    Any other cleanup is not recorded.
    """
    insert(3, state="published", age=OLD)
    for arguments in (["-n"], ["--older-than", "9d"]):
        assert clean(*arguments)["run_id"] is None
    document = clean("--older-than", "2d", "-y", "--reason", "disk full", PAYCTL_ACTOR="An")
    (run,) = answer("runs", "list", DATABASE_URL=database_url)["items"]
    assert (run["id"], run["command"], run["status"]) == (document["run_id"], "cleanup", "done")
    assert (run["reason"], run["actor"], run["counts"]["deleted"]) == ("disk full", "An", 3)


def test_a_cleanup_that_reaches_its_time_limit_is_recorded_as_incomplete(clean, insert, answer, database_url):
    """If a cleanup reaches its time limit, its record says "incomplete" and contains the count of deleted events."""
    insert(3000, state="published", age=OLD)
    assert clean("--batch-size", "1", "--max-duration", "1s")["exit_code"] == 10
    (run,) = answer("runs", "list", DATABASE_URL=database_url)["items"]
    assert (run["status"], 0 < run["counts"]["deleted"] < 3000) == ("incomplete", True)


@pytest.mark.parametrize(("reason", "warned"), [([], 0), (["--reason", "disk"], 1)])
def test_a_cleanup_works_if_payctl_cannot_record_it(clean, insert, engine, reason, warned):
    """If payctl cannot record a cleanup, it warns only if a reason was given."""
    insert(3, state="published", age=OLD)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE payctl.runs RENAME TO runs_elsewhere")
    document = clean(*reason)
    assert (document["exit_code"], document["counts"]["deleted"], document["run_id"]) == (0, 3, None)
    assert sum("payctl.runs" in warning for warning in document["warnings"]) == warned


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_cleanup_after_the_current_batch(started, database_url, insert, events, number):
    """After a signal, a cleanup finishes its batch and prints a document with the count of deleted events."""
    insert(30_000, state="published", age=OLD)
    process = started("cleanup", "--batch-size", "1", "-o", "json", DATABASE_URL=database_url)
    deadline = time.monotonic() + 30
    while events() == 30_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    document = json.loads(out)
    assert process.returncode == document["exit_code"] == 128 + number
    assert document["result"]["stopped_because"] == "signal"
    assert document["counts"]["deleted"] == 30_000 - events() > 0


@pytest.mark.parametrize(("typed", "ends"), [("y", (0, 1)), ("", (7, 4))])
def test_a_cleanup_on_a_terminal_asks_for_confirmation(database_url, engine, insert, events, typed, ends):
    """The default answer to the `cleanup` prompt is no. Events that expire while the prompt is open are not deleted."""
    insert(3, state="published", age=OLD)
    insert(1, state="published", age=timedelta(0))
    master, slave = pty.openpty()
    environment = {**os.environ, "DATABASE_URL": database_url, "TERM": "xterm", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "ticketbottle_payctl", "cleanup", "--older-than", "1h"]
    with subprocess.Popen(command, env=environment, stdin=slave, stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(master, 65536)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE outbox SET \"publishedAt\" = clock_timestamp() AT TIME ZONE 'UTC' - interval '1 hour'"
                " WHERE \"publishedAt\" > clock_timestamp() AT TIME ZONE 'UTC' - interval '1 hour'"
            )
        os.write(master, f"{typed}\n".encode())
        while process.poll() is None:
            try:
                seen += os.read(master, 65536)
            except OSError:
                process.wait(30)
    os.close(master)
    assert (process.returncode, events()) == ends
    assert "Delete 3 published events? [y/N]" in seen.decode()
