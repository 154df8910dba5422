"""Test the formats, breakdowns, limits and waits of `payctl stats`, and `--watch` in a pipe."""

from __future__ import annotations

import json
import re
import signal
from datetime import timedelta

import pytest

from tests.cli.documents import validate
from ticketbottle_payctl.formats import gateway_name

LINE = re.compile(r"^payctl_outbox_\w+(\{\w+=\"[^\"\n]*\"(,\w+=\"[^\"\n]*\")*\})? -?[0-9.e+-]+$")


@pytest.fixture
def stats(answer, database_url):
    """Return a function that runs `payctl stats` with the given arguments and returns the validated document."""

    def run(*arguments):
        document = answer("stats", *arguments, DATABASE_URL=database_url)
        known = validate(document, "stats")["then"]["properties"]["result"]["properties"]
        assert set(document["result"]) <= set(known)
        return document

    return run


@pytest.fixture
def shown(invoke, database_url):
    """Return a function that runs `payctl stats` with the given arguments and returns its human-readable result."""
    return lambda *arguments: invoke("stats", *arguments, DATABASE_URL=database_url)


def test_the_document_of_stats_has_the_documented_fields(stats, insert):
    """The document of `payctl stats` uses the documented fields and units."""
    insert(2, age=timedelta(minutes=3))
    insert(1, state="dead")
    insert(4, state="published")
    result = stats()["result"]
    assert (result["pending"], result["dead"], result["published"], result["total"]) == (2, 1, 4, 7)
    assert 180 <= result["oldest_pending_age_s"] < 240
    assert re.fullmatch(r"[0-9a-f-]{36}", result["oldest_pending_id"])
    assert (set(result["lag_s"]), set(result["rate"])) == ({"p50", "p95", "p99"}, {"in_per_s", "out_per_s"})
    assert "drain_eta_s" in result


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("type", {"event_type": "PAYMENT_COMPLETED", "pending": 0, "dead": 2, "published": 0}),
        ("status", {"status": "dead", "events": 2}),
        ("provider", {"provider": "ZALOPAY", "pending": 0, "dead": 2, "published": 0}),
        ("error", {"error": "unknown event type", "pending": 0, "dead": 2}),
    ],
)
def test_stats_show_a_breakdown(stats, shown, insert, by, expected):
    """With --by, the document and the table of `payctl stats` contain one row for each value of the chosen field."""
    insert(2, state="dead")
    items = stats("--by", by)["items"]
    assert any(expected.items() <= item.items() for item in items)
    assert gateway_name(next(iter(expected.values()))) in shown("--by", by).stdout


def test_a_line_of_a_breakdown_stays_an_item(invoke, database_url, insert):
    """With --by type, the "type" of each ndjson line is still "item" and not an event type."""
    insert(2, state="dead")
    printed = invoke("stats", "--by", "type", "-o", "ndjson", DATABASE_URL=database_url).stdout
    assert [json.loads(line)["type"] for line in printed.splitlines()] == ["item", "summary"]


def test_stats_begin_with_the_age_of_the_oldest_pending_event(shown, insert):
    """The first line of `payctl stats` shows the age of the oldest pending event."""
    assert shown().stdout.splitlines()[0] == "✔  nothing is pending"
    insert(1, age=timedelta(minutes=42, seconds=10))
    insert(3, state="dead")
    assert re.match(r"!  oldest pending event: 42 min 1\d s  3 dead\n", shown().stdout)


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(0), "no trend yet: no event has been pending for 2 min"),
        (timedelta(minutes=3), "growing: more events are created than published"),
    ],
)
def test_stats_call_a_backlog_growing_only_if_an_event_is_overdue(shown, insert, age, words):
    """`stats` says that the backlog is growing only if an event is overdue. A few new events are not a trend."""
    insert(1, state="published", age=timedelta(seconds=1))
    insert(1, age=age)
    insert(3)
    assert f"drain\t{words}" in shown().stdout.splitlines()


def test_stats_say_that_nothing_can_be_sent_if_every_event_is_blocked(shown, stats, insert, execute):
    """If every pending event is blocked, `payctl stats` says that nothing can be sent, and does not make a forecast."""
    insert(600, state="published", age=timedelta(seconds=10))
    insert(1, state="dead", age=timedelta(hours=2))
    insert(1, age=timedelta(hours=1))
    execute("""UPDATE outbox SET "aggregateId" = 'one' WHERE NOT published""")
    result = stats()["result"]
    assert (result["blocked"], result["drain"], result["drain_eta_s"]) == (1, "blocked", None)
    assert "\ndrain\tnothing can be sent: each event waits behind a dead one\n" in shown().stdout


@pytest.mark.parametrize(
    ("dead", "words"),
    [
        (False, "1 event is locked by another session"),
        (True, "each event waits behind a dead one, or is locked by another session"),
    ],
)
def test_stats_say_that_nothing_can_be_sent_if_the_events_are_locked(
    shown, stats, engine, insert, execute, monkeypatch, dead, words
):
    """If a session has locked all pending events for long enough, `payctl stats` names it and makes no forecast."""
    insert(600, state="published", age=timedelta(seconds=10))
    if dead:
        insert(1, state="dead", age=timedelta(hours=2))
        insert(1, age=timedelta(hours=1))
        execute("""UPDATE outbox SET "aggregateId" = 'one' WHERE NOT published""")
    insert(1, age=timedelta(seconds=20))
    newest = 'SELECT id FROM outbox WHERE NOT published ORDER BY "createdAt" DESC LIMIT 1 FOR UPDATE'
    with engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'psql'")
        other.exec_driver_sql(newest)
        young = stats()["result"]["locked"]
        monkeypatch.setattr("ticketbottle_payctl.domain.causes.stopped.WAITS_AFTER", timedelta())
        result, text = stats()["result"], shown().stdout
    assert (young, result["locked"], result["drain"], result["drain_eta_s"]) == (0, 1, "blocked", None)
    assert f"\ndrain\tnothing can be sent: {words}\n" in text


def test_stats_escape_control_characters_of_error_texts(shown, insert):
    """`payctl stats` escapes control characters in a stored error."""
    insert(1, state="dead", last_error="odd \x1b[2J[red]text")
    printed = shown("--by", "error").stdout
    assert "\\x1b[#J[red]text" in printed or "\\x1b" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("arguments", "code", "reasons"),
    [
        (["--check"], 5, 2),
        (["--check", "--max-age", "1h"], 5, 1),
        (["--check", "--max-failed", "2"], 5, 1),
        (["--check", "--max-age", "1h", "--max-failed", "2"], 0, 0),
    ],
)
def test_stats_check_exits_with_5_over_a_limit(stats, insert, arguments, code, reasons):
    """`stats --check` exits with 5 if the oldest pending event is too old or if too many events are dead."""
    insert(1, age=timedelta(minutes=10))
    insert(2, state="dead")
    document = stats(*arguments)
    assert (document["exit_code"], document["error"]) == (code, None)
    assert (document["result"]["healthy"], len(document["result"]["reasons"])) == (code == 0, reasons)


def test_stats_check_of_an_empty_outbox_is_healthy(shown):
    """`stats --check` exits with 0 if the outbox is empty."""
    result = shown("--check")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "✔ healthy")


@pytest.mark.parametrize("condition", ["pending=0", "pending<1,dead<=0", "age<1s"])
def test_a_wait_whose_condition_holds_ends_at_once(stats, condition):
    """`payctl stats --wait` ends at once if its condition is already true."""
    document = stats("--wait", condition)
    assert (document["exit_code"], document["result"]["reached"]) == (0, True)


def test_a_wait_that_times_out_exits_with_10(stats, insert):
    """At its timeout, `stats --wait` exits with 10 and prints the last state."""
    insert(2)
    document = stats("--wait", "pending=0", "--timeout", "300ms", "--interval", "200ms")
    assert (document["exit_code"], document["result"]["reached"], document["result"]["pending"]) == (10, False, 2)


def test_a_wait_ends_when_its_condition_becomes_true(started, database_url, engine, insert):
    """`payctl stats --wait pending=0` waits until no event is pending."""
    insert(2)
    process = started("stats", "--wait", "pending=0", "--interval", "200ms", "-o", "json", DATABASE_URL=database_url)
    assert b"waiting for" in process.stderr.readline()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["result"]["pending"]) == (0, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--wait", "pending<>0"],
        ["--wait", "everything=0"],
        ["--wait", "pending=5m"],
        ["--wait", "age<30"],
        ["--max-age", "3m"],
        ["--max-failed", "0"],
        ["--timeout", "3m"],
        ["--interval", "3s"],
        ["-w", "--check"],
        ["--prometheus", "--wait", "pending=0"],
        ["-w", "--interval", "1ms"],
        ["-w"],
        ["--by", "colour"],
        ["--since", "3"],
        ["--since", "now"],
        ["--since", "2199-01-01"],
        ["--since", "03/04/2026"],
        ["-w", "--by", "type", "-o", "ndjson"],
        ["-w", "--by", "type", "-o", "table"],
    ],
)
def test_stats_refuse_an_option_without_effect(stats, arguments):
    """`payctl stats` exits with 2 for an option that has no effect or for an ambiguous value."""
    assert (document := stats(*arguments))["exit_code"] == 2, document


def test_stats_print_prometheus_metrics(shown, insert):
    """`stats --prometheus` prints the type and samples of each metric, and nothing else."""
    insert(3)
    insert(2, state="dead", last_error='a "quoted" back\\slash')
    lines = shown("--prometheus", "--by", "error").stdout.splitlines()
    assert "payctl_outbox_pending_events 3" in lines
    assert "payctl_outbox_dead_events 2" in lines
    assert '{error="a \\"quoted\\" back\\\\slash",status="dead"} 2' in "\n".join(lines)
    samples = [line for line in lines if not line.startswith("#") and "\\" not in line]
    assert [line for line in samples if not LINE.match(line)] == []
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {re.match(r"\w+", line)[0] for line in samples} <= named


@pytest.mark.parametrize("by", ["error", "type", "provider"])
def test_labels_of_metrics_are_escaped(by, shown, insert, engine):
    """`stats --prometheus` escapes control characters in labels, so each sample is one valid line."""
    insert(1, state="dead", last_error="x \x1b[2J\u202e\n y", event_type="T\x1b[2J\u202e")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """UPDATE outbox SET payload = jsonb_build_object('provider', %s::text)""", ("\x1b]0",)
        )
    text = shown("--prometheus", "--by", by).stdout
    assert not {"\x1b", "\u202e"} & set(text)
    label = re.compile(rf'payctl_outbox_events_by_{by}{{\w+="(?:[^"\\\n]|\\[\\"n])*",status="\w+"}} \d+')
    assert all(label.fullmatch(line) for line in text.splitlines() if line.startswith("payctl_outbox_events_by"))
    assert "\\\\x1b" in text


@pytest.mark.parametrize("text", ["24h", "yesterday", "2h ago", "00:00", "2026-01-01", "2026-01-01T03:00:00Z"])
def test_stats_since_accepts_any_past_instant(text, shown, insert):
    """`stats --since` accepts a past instant in any format. stderr shows the time window in local time and UTC."""
    insert(3)
    result = shown("--since", text, "--tz", "Asia/Ho_Chi_Minh")
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^window \S+ \S+ \+07:00 \(\S+Z\) → now", result.stderr, re.MULTILINE)


def test_stats_since_a_day_count_from_its_beginning(stats, insert):
    """If --since is a day, `payctl stats` counts events from the start of that day."""
    insert(4, state="published", age=timedelta(days=3))
    assert sum(stats("--since", "2026-01-01")["result"]["history"]["sent"]) == 4
    assert sum(stats("--since", "yesterday")["result"]["history"]["sent"]) == 0


def test_an_empty_outbox_keeps_its_age_metric(shown):
    """If the outbox is empty, `stats --prometheus` prints 0 as the oldest event's age, and keeps the metric."""
    assert "payctl_outbox_oldest_pending_age_seconds 0\n" in shown("--prometheus").stdout


def watched(started, database_url, *arguments, lines):
    """Run `stats --watch` until ``lines`` lines are printed, and send Ctrl-C.

    Return the exit code, lines and stderr.
    """
    process = started("stats", "-w", "--interval", "200ms", *arguments, DATABASE_URL=database_url)
    printed = [process.stdout.readline().decode() for _ in range(lines)]
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    return process.returncode, [*printed, *rest.decode().splitlines(keepends=True)], errors.decode()


def test_a_watch_in_a_pipe_prints_a_line_for_each_poll(started, database_url, insert):
    """If the output is piped, `stats --watch` prints a header and one line per poll.

    After Ctrl-C, it exits with 130.
    """
    insert(2)
    code, lines, errors = watched(started, database_url, lines=3)
    rows = [line.rstrip("\n").split("\t") for line in lines]
    assert (code, errors) == (130, "")
    assert rows[0][:3] == ["at", "pending", "dead"]
    assert {(len(row), row[1]) for row in rows[1:]} == {(len(rows[0]), "2")}


def test_a_watch_as_ndjson_ends_with_a_summary(started, database_url):
    """With -o ndjson, `stats --watch` prints an item for each poll, and finally a summary."""
    code, lines, _ = watched(started, database_url, "-o", "ndjson", lines=2)
    kinds = [json.loads(line)["type"] for line in lines]
    assert (code, set(kinds[:-1]), kinds[-1]) == (130, {"item"}, "summary")


def test_a_watch_continues_after_a_database_restart(started, database_url, postgres):
    """`stats --watch` prints a message while the database restarts, and then continues."""
    process = started("stats", "-w", "--interval", "200ms", DATABASE_URL=database_url)
    for _ in range(2):
        process.stdout.readline()
    postgres.stop("immediate")
    try:
        assert b"waiting:" in process.stderr.readline()
    finally:
        postgres.restart()
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_a_secret_in_a_stored_error_is_blanked_in_every_format(shown, insert):
    """`payctl stats` masks a secret in a stored error. Errors with the same masked text form one group."""
    for password in ("hunter-two", "hunter-three"):
        insert(1, state="dead", last_error=f"cannot connect to postgresql://u:{password}@h/d")
    for form in (["-o", "table"], ["-o", "json"], ["-o", "csv"], ["--prometheus"]):
        result = shown("--by", "error", *form)
        assert (result.exit_code, "hunter" in result.stdout, "***" in result.stdout) == (0, False, True)
    samples = [line for line in shown("--by", "error", "--prometheus").stdout.splitlines() if 'status="dead"' in line]
    assert [line.split()[-1] for line in samples] == ["2"]


def test_stats_without_settings_name_the_demo_and_its_settings(invoke):
    """Without DATABASE_URL, the error from `payctl stats` explains how to start a demo and load its settings."""
    result = invoke("stats")
    assert (result.exit_code, result.stdout) == (3, "")
    hint = result.stderr.splitlines()[-1]
    assert hint.startswith("try: export DATABASE_URL; or run `payctl demo --keep`, and paste the `source` line")
