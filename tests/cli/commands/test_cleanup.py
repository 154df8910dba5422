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
from jsonschema import Draft202012Validator, FormatChecker

from ticketbottle_payctl.archive_file import read
from ticketbottle_payctl.cli.commands import schema
from ticketbottle_payctl.sandbox.payment_service import insert_events

OLD = timedelta(days=8)


@pytest.fixture
def insert(engine):
    """``insert(3, state="dead")``: that many events."""

    def run(count, **options):
        with engine.begin() as connection:
            insert_events(connection, count, **{"payload_bytes": 0, **options})

    return run


@pytest.fixture
def events(engine):
    """``events()``: how many there are."""

    def run():
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one()

    return run


@pytest.fixture
def clean(answer, database_url):
    """``clean("-n")``: the document, which keeps to its schema."""

    def run(*arguments, **environment):
        document = answer("cleanup", *arguments, DATABASE_URL=database_url, **environment)
        Draft202012Validator(schema.load("cleanup"), format_checker=FormatChecker()).validate(document)
        known = schema.load("cleanup")["then"]["properties"]
        assert set(document["result"]) <= set(known["result"]["properties"])
        assert set(document["counts"]) <= set(known["counts"]["properties"])
        return document

    return run


@pytest.fixture
def guarded(tmp_path, database_url, answer, insert):
    """``guarded("protected = true", "-y")``: a clean-up of three events in a profile with that guard."""

    def run(guard, *arguments):
        insert(3, state="published", age=OLD)
        file = tmp_path / "config.toml"
        file.write_text(f'[profiles.prod]\nDATABASE_URL = "{database_url}"\n[profiles.prod.guard]\n{guard}\n')
        return answer("cleanup", *arguments, "--config", str(file), "-p", "prod")

    return run


def test_what_scripts_rely_on(clean, insert, events):
    """Counts, horizon, bytes and batches; the configured retention needs no yes."""
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


def test_the_retention_is_the_configured_one(clean, insert, events):
    """OUTBOX_RETENTION_DAYS, in days."""
    insert(2, state="published", age=OLD)
    assert clean(OUTBOX_RETENTION_DAYS="9")["counts"]["deleted"] == 0
    assert clean("--older-than", "9d")["counts"]["deleted"] == 0
    assert events() == 2


def test_the_newest_are_kept_whatever_the_retention(clean, insert, events):
    """``--keep-newest`` wins over a shorter ``--older-than``."""
    insert(2, state="published", age=timedelta(hours=3))
    insert(3, state="published", age=timedelta(hours=9))
    document = clean("--older-than", "1h", "--keep-newest", "6h", "-y")
    assert (document["exit_code"], document["counts"]["deleted"], events()) == (0, 3, 2)


def test_a_dry_run_says_rows_and_bytes(clean, invoke, database_url, insert, events):
    """And deletes nothing, at any retention, without a yes."""
    insert(3, state="published", age=OLD)
    document = clean("-n", "--older-than", "1h")
    assert (document["dry_run"], document["counts"]["matched"], document["counts"]["deleted"]) == (True, 3, 0)
    assert document["result"]["bytes"] > 0
    assert invoke("cleanup", "-n", DATABASE_URL=database_url).stdout.startswith("would delete 3 events  about ")
    assert events() == 3


@pytest.mark.parametrize(
    "arguments", [["--older-than", "6d"], ["--receipts-older-than", "1d"], ["--max-affected", "2"]]
)
def test_what_is_not_routine_needs_a_yes(clean, insert, events, arguments):
    """A shorter retention, proofs of what a gateway said, or more than was allowed: nothing was changed."""
    insert(3, state="published", age=OLD)
    document = clean(*arguments)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert events() == 3


def test_a_yes_allows_it(clean, insert, events):
    """Up to the cap."""
    insert(3, state="published", age=OLD)
    assert clean("--older-than", "1h", "-y", "--max-affected", "2")["exit_code"] == 7
    assert clean("--older-than", "1h", "-y")["counts"]["deleted"] == 3
    assert events() == 0


def test_the_configured_retention_has_no_cap_but_a_given_one(clean, insert):
    """The daily run is not stopped by the size of a day."""
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
def test_profiles_guard_it(guarded, guard, arguments, allowed):
    """The same ladder as for every command that changes rows."""
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
    """A variable that was left over must not delete what the profile keeps. A longer one deletes less."""
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


def test_an_archive_is_written_and_told(clean, insert, tmp_path):
    """Its file and how many events went to it."""
    insert(3, state="published", age=OLD)
    path = tmp_path / "gone.ndjson.gz"
    document = clean("--archive", str(path))
    assert (document["counts"]["archived"], document["result"]["archive"]) == (3, str(path))
    assert len(list(read(path))) == 3


@pytest.mark.parametrize("name", ["events.ndjson", "missing/events.gz"])
def test_an_archive_that_cannot_be_is_refused_first(clean, insert, events, tmp_path, name):
    """Exit 2, and nothing is deleted."""
    insert(3, state="published", age=OLD)
    assert clean("--archive", str(tmp_path / name))["exit_code"] == 2
    assert events() == 3


def test_the_time_was_up(clean, insert):
    """Exit 10; what was deleted stays deleted."""
    insert(5, state="published", age=OLD)
    document = clean("--batch-size", "1", "--max-duration", "1ms")
    assert (document["exit_code"], document["result"]["stopped_because"]) == (10, "deadline")


def test_unpublished_events_are_told_to_people(invoke, database_url, insert):
    """With how many, since when, why, and what to type."""
    insert(2, state="dead", age=timedelta(days=3, hours=4), last_error="boom \x1b]0;title\x07")
    insert(1, age=timedelta(hours=2))
    result = invoke("cleanup", DATABASE_URL=database_url)
    assert "dead\t2, the oldest is 3 d 4 h old\n" in result.stdout
    assert "boom" in result.stdout
    assert "\x1b" not in result.stdout
    assert '"message": "outbox_dead_events"' in result.stderr
    assert "payctl replay --failed" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "deleted"), [([], 3), (["--keep-newest", "200h"], 0), (["--keep-newest", "6h"], 3)]
)
def test_the_newest_are_kept_whatever_else_is_said(clean, insert, arguments, deleted):
    """--keep-newest is a floor under the retention, and not above it."""
    insert(3, state="published", age=OLD)
    assert clean(*arguments)["counts"]["deleted"] == deleted


def test_a_short_retention_stops_at_the_newest(clean, insert, events):
    """What --older-than would take is kept by --keep-newest."""
    insert(2, state="published", age=timedelta(hours=3))
    insert(3, state="published", age=timedelta(hours=7))
    assert clean("--older-than", "1h", "--keep-newest", "6h", "-y")["counts"]["deleted"] == 3
    assert events() == 2


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_batch_is_as_large_as_said(clean, insert, size):
    """--batch-size is how many events one transaction deletes."""
    insert(5, state="published", age=OLD)
    assert clean("--batch-size", str(size))["result"]["batches"] == -(-5 // size)


def test_a_run_that_deletes_leaves_a_trace(clean, insert, answer, database_url):
    """Who, why and how many in payctl.runs; one that deletes nothing leaves none."""
    insert(3, state="published", age=OLD)
    for arguments in (["-n"], ["--older-than", "9d"]):
        assert clean(*arguments)["run_id"] is None
    document = clean("--older-than", "2d", "-y", "--reason", "disk full", PAYCTL_ACTOR="An")
    (run,) = answer("runs", "list", DATABASE_URL=database_url)["items"]
    assert (run["id"], run["command"], run["status"]) == (document["run_id"], "cleanup", "done")
    assert (run["reason"], run["actor"], run["counts"]["deleted"]) == ("disk full", "An", 3)


def test_a_run_whose_time_was_up_is_recorded_so(clean, insert, answer, database_url):
    """It is over, with what it deleted; the next run goes on by itself, so it is not one to resume."""
    insert(3000, state="published", age=OLD)
    assert clean("--batch-size", "1", "--max-duration", "1s")["exit_code"] == 10
    (run,) = answer("runs", "list", DATABASE_URL=database_url)["items"]
    assert (run["status"], 0 < run["counts"]["deleted"] < 3000) == ("incomplete", True)


@pytest.mark.parametrize(("reason", "warned"), [([], 0), (["--reason", "disk"], 1)])
def test_without_a_right_to_record_it_cleans_up_all_the_same(clean, insert, engine, reason, warned):
    """The scheduled role has none; only who gave a reason is told that it is kept nowhere."""
    insert(3, state="published", age=OLD)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE payctl.runs RENAME TO runs_elsewhere")
    document = clean(*reason)
    assert (document["exit_code"], document["counts"]["deleted"], document["run_id"]) == (0, 3, None)
    assert sum("payctl.runs" in warning for warning in document["warnings"]) == warned


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_batch(started, database_url, insert, events, number):
    """The document is whole, and says how far it came."""
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
def test_a_person_is_asked(database_url, engine, insert, events, typed, ends):
    """On a terminal, with the plan in front; the default is no, and what expires meanwhile was not asked about."""
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
