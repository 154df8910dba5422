"""Test ``payctl publish-outbox`` in a real process, with a real database and a mock cluster."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import defaultdict
from datetime import timedelta

import pytest

from tests.cli.commands.publish_outbox.conftest import NOBODY
from tests.cli.documents import validate
from tests.late_failure import insert_late_failure, slow_down_payments
from ticketbottle_payctl.cli.commands.publish_outbox import command
from ticketbottle_payctl.domain.causes import NO_LATE_FAILURES
from ticketbottle_payctl.jobs.publish_outbox import publish_outbox
from ticketbottle_payctl.sandbox import payment_service
from ticketbottle_payctl.store.db.engine import Limits, transaction

HOUR = timedelta(hours=1)


@pytest.fixture
def insert(engine):
    """Return a function that inserts events."""

    def make(count, **columns):
        with transaction(engine, Limits()) as connection:
            payment_service.insert_events(connection, count, **columns)

    return make


def answer(ran):
    """Return the document that the process has printed."""
    return json.loads(ran.stdout)


def wait_for(condition, *, within=20.0):
    """Wait until ``condition`` is true. Fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        signal.sigtimedwait([], 0.02)


def test_publish_outbox_publishes_all_pending_events(process, places, insert, read_all):
    """publish-outbox publishes all pending events, counts them by type, and exits with 0."""
    insert(30)
    insert(5, event_type="PAYMENT_FAILED")
    ran = process("publish-outbox", "-o", "json", **places)
    document = answer(ran)
    assert (ran.returncode, document["counts"]["published"]) == (0, 35), ran.stderr
    assert document["result"]["published_by_type"] == {"PAYMENT_COMPLETED": 30, "PAYMENT_FAILED": 5}
    assert document["result"]["stopped_because"] == "empty"
    assert len(read_all(places["KAFKA_BROKERS"])) == 35
    assert answer(process("publish-outbox", "-o", "json", **places))["counts"]["published"] == 0


def test_a_release_is_recorded_even_if_the_brokers_are_unavailable(process, places, insert):
    """A run with --on-dead release that failed to send anything is recorded as incomplete, along with its options."""
    insert(1, state="dead")
    insert(1)
    ran = process("publish-outbox", "--on-dead", "release", "-o", "json", **{**places, "KAFKA_BROKERS": NOBODY})
    document = answer(ran)
    run = answer(process("runs", "show", document["run_id"], "-o", "json", **places))["result"]
    assert (ran.returncode, run["command"], run["status"]) == (4, "publish-outbox", "incomplete")
    assert (run["options"]["on_dead"], run["counts"]["published"]) == ("release", 0)


@pytest.fixture
def loop(invoke, places, monkeypatch):
    """Return a function that runs a publisher loop in the test's process.

    The function returns the document and the log lines.
    """

    def run(*arguments):
        monkeypatch.setattr("ticketbottle_payctl.cli.commands.publish_outbox.progress._HEARTBEAT", 0.2)
        ran = invoke("publish-outbox", "--loop", *arguments, "-o", "json", LOG_LEVEL="info", **places)
        lines = defaultdict(list)
        for line in ran.stderr.splitlines():
            if line.startswith("{"):
                lines[json.loads(line)["message"]].append(json.loads(line))
        document = answer(ran)
        validate(document, "publish-outbox")
        return document, lines

    return run


def test_a_loop_logs_its_start_its_heartbeats_and_its_result(loop, insert):
    """A publisher loop logs that it is ready, then a regular heartbeat even without events, and finally its result."""
    insert(5, age=timedelta(seconds=60))
    document, lines = loop("--deadline", "2s")
    assert len(lines["publish_outbox_ready"]) == 1
    beats = lines["publish_outbox_heartbeat"]
    assert len(beats) > 2
    result = document["result"]
    assert (beats[-1]["counts"], beats[-1]["batches"]) == (document["counts"], result["batches"])
    assert beats[-1]["lag_s"] == result["lag_s"]
    assert set(result["lag_s"]) == {"p50", "p95", "p99"}
    assert 60 <= result["lag_s"]["p50"] <= result["lag_s"]["p99"] < 75
    (end,) = lines["publish_outbox_ended"]
    assert end["counts"] == document["counts"]
    said = ("batches", "stopped_because", "events_per_second", "lag_s")
    assert {name: end[name] for name in said} == {name: result[name] for name in said}
    assert (end["stopped_because"], document["counts"]["published"]) == ("deadline", 5)


def test_an_idle_loop_has_no_lag(loop):
    """If a publisher loop published nothing, the lag is null in the document and missing from the log."""
    document, lines = loop("--deadline", "1s")
    assert document["result"]["lag_s"] is None
    assert all("lag_s" not in line for line in [*lines["publish_outbox_heartbeat"], *lines["publish_outbox_ended"]])
    assert lines["publish_outbox_heartbeat"]


def test_publish_outbox_shows_percentiles_of_the_lag(invoke, places, insert):
    """`payctl publish-outbox` shows percentiles of the publishing lag."""
    insert(5, age=timedelta(seconds=60))
    text = " ".join(invoke("publish-outbox", **places).stdout.split())
    assert re.search(r"publish lag p50 1 min( \d s)? · p95 1 min( \d s)? · p99 1 min( \d s)?", text)


def test_publish_outbox_exits_with_4_if_the_database_fails_during_the_run(
    started, places, insert, engine, postgres, mock_kafka
):
    """If the database fails during a run, `publish-outbox` exits with 4 and counts the events published until then.

    The server may commit one more batch, and stop before it answers. The run does not count this batch.
    """
    insert(3000, age=timedelta(seconds=60))
    mock_kafka.set_rtt(20)
    process = started("publish-outbox", "-o", "json", **places, OUTBOX_BATCH_SIZE="20")

    def published():
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM outbox WHERE published").scalar_one()

    wait_for(lambda: published() >= 100)
    postgres.stop("immediate")
    output, _ = process.communicate(timeout=30)
    engine.dispose()
    postgres.restart()
    document = json.loads(output)
    validate(document, "publish-outbox")
    assert (process.returncode, document["exit_code"], document["error"]["code"]) == (4, 4, "DATABASE_UNAVAILABLE")
    assert document["result"]["stopped_because"] == "database_unavailable"
    counted = document["counts"]["published"]
    assert 100 <= counted <= published() <= counted + 20 < 3000


def test_a_dry_run_of_publish_outbox_counts_the_pending_events(process, places, insert, read_all):
    """`publish-outbox -n` counts the pending events of each type, and those that would die, and sends none."""
    insert(3)
    insert(2, event_type="PAYMENT_REFUNDED")
    document = answer(process("publish-outbox", "-n", "-o", "json", **places))
    counts = {"claimed": 5, "published": 0, "retried": 0, "dead": 2, "held": 0, "pending": 5}
    assert document["counts"] == counts
    assert [(item["event_type"], item["topic"], item["events"]) for item in document["items"]] == [
        ("PAYMENT_COMPLETED", "payment.completed", 3),
        ("PAYMENT_REFUNDED", None, 2),
    ]
    assert read_all(places["KAFKA_BROKERS"]) == []
    assert answer(process("publish-outbox", "-o", "json", **places))["counts"]["published"] == 3


def test_max_batches_ends_publish_outbox_with_exit_code_0(process, places, insert):
    """After --max-batches batches, `publish-outbox` exits with 0 and leaves the other events pending."""
    insert(7)
    first = answer(process("publish-outbox", "--max-batches", "2", "--batch-size", "2", "-o", "json", **places))
    assert (first["exit_code"], first["counts"]["published"], first["result"]["batches"]) == (0, 4, 2)
    assert first["result"]["stopped_because"] == "max_batches"
    rest = answer(process("publish-outbox", "--until-empty", "--batch-size", "2", "-o", "json", **places))
    assert (rest["exit_code"], rest["counts"]["published"], rest["result"]["stopped_because"]) == (0, 3, "empty")


@pytest.mark.parametrize(("on_dead", "published", "code"), [("block", 1, 6), ("release", 3, 0)])
def test_on_dead_blocks_or_releases_the_events_behind_a_dead_one(
    on_dead, published, code, process, places, insert, engine
):
    """--on-dead decides whether `publish-outbox` sends or holds back the events behind a dead event.

    A dead success event is harmless once another success event of its payment has been sent.
    """
    insert(1, state="dead", age=HOUR)
    insert(3)
    with transaction(engine, Limits()) as connection:
        connection.exec_driver_sql("""
            UPDATE outbox SET "aggregateId" = (SELECT "aggregateId" FROM outbox WHERE "retryCount" >= 5)
            WHERE id IN (SELECT id FROM outbox WHERE "retryCount" = 0 ORDER BY id LIMIT 2)
        """)
    document = answer(process("publish-outbox", "--on-dead", on_dead, "-o", "json", **places))
    assert (document["exit_code"], document["counts"]["published"]) == (code, published), document
    assert document["counts"]["held"] == 3 - published


def test_a_run_with_a_dead_event_exits_with_6(process, places, insert):
    """If an event's type is unknown, `publish-outbox` marks the event as dead, sends the others and exits with 6."""
    insert(4)
    insert(1, event_type="PAYMENT_REFUNDED")
    ran = process("publish-outbox", "-o", "json", **places)
    document = answer(ran)
    assert (ran.returncode, document["counts"]["published"], document["counts"]["dead"]) == (6, 4, 1)
    assert document["items"][0]["error"].startswith("UNKNOWN_EVENT_TYPE")
    assert "payctl errors" in process("publish-outbox", **places).stdout


def test_publish_outbox_exits_with_4_without_a_broker(process, places, insert, engine):
    """If no broker is available, `publish-outbox` exits with 4, and events do not use up retries."""
    insert(2)
    ran = process("publish-outbox", "--deadline", "1s", "-o", "json", **{**places, "KAFKA_BROKERS": NOBODY})
    document = answer(ran)
    assert (ran.returncode, document["error"]["code"]) == (4, "KAFKA_UNAVAILABLE")
    assert "error[KAFKA_UNAVAILABLE]" in ran.stderr
    assert "  nothing is lost: 2 events wait, and no retry was used up\n  next:  payctl doctor\n" in ran.stderr
    with engine.connect() as connection:
        counts = connection.exec_driver_sql('SELECT sum("retryCount"), count(*) FROM outbox WHERE NOT published')
        assert counts.one() == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--type", "PAYMENT_REFUNDED"], "PAYMENT_COMPLETED"),
        (["--type", "PAYMENT_FAILED", "--loop"], "--type"),
        (["--deadline", "5"], "50s"),
        (["--rate", "fast"], "500/s"),
        (["--batch-size", "0"], "--batch-size"),
        (["--health-file", "/nowhere/at/all"], "health file"),
        (["--health-file", "/proc/self/exe"], "the health file is a symbolic link"),
    ],
)
def test_publish_outbox_refuses_an_invalid_option_value(process, places, arguments, named):
    """If an option's value is invalid, publish-outbox exits with 2, and the error lists the valid values."""
    ran = process("publish-outbox", *arguments, **places)
    assert ran.returncode == 2, ran.stderr
    assert named in ran.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_loop_ends_on_a_signal(started, places, insert, read_all, tmp_path, number, code):
    """After a signal, a publisher loop prints its report and exits with 130 or 143."""
    health = tmp_path / "alive"
    process = started("publish-outbox", "--loop", "--health-file", str(health), "-o", "json", **places)
    insert(7)
    wait_for(lambda: len(read_all(places["KAFKA_BROKERS"])) == 7)
    assert health.exists()
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    document = json.loads(output)
    assert (process.returncode, document["exit_code"]) == (code, code)
    assert (document["counts"]["published"], document["result"]["stopped_because"]) == (7, "signal")


def test_the_deadline_covers_the_search_for_failures_of_paid_orders(invoke, database_url, mock_kafka, monkeypatch):
    """The time of the search before a run counts against --deadline, and the run gets only the rest of this time."""
    budgets = []

    def search(*_):
        time.sleep(0.5)
        return NO_LATE_FAILURES

    def publish(engine, producer, options, **more):
        budgets.append(options.budget)
        return publish_outbox(engine, producer, options, **more)

    monkeypatch.setattr(command, "known_late_failures", search)
    monkeypatch.setattr(command, "publish_outbox", publish)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    assert invoke("publish-outbox", "--deadline", "2s", **places).exit_code == 0
    assert timedelta(0) < budgets[0] <= timedelta(seconds=1.5)


def test_a_slow_search_leaves_most_of_the_deadline_to_the_run(invoke, database_url, mock_kafka, engine, insert):
    """If another session has locked the payments, the run sends its events, and says that payments were not read."""
    insert(3)
    with engine.begin() as connection:
        insert_late_failure(connection)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    with engine.connect() as other:
        other.exec_driver_sql("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
        ran = invoke("publish-outbox", "--deadline", "2s", "-o", "json", **places)
        other.rollback()
    document = json.loads(ran.stdout)
    assert (ran.exit_code, document["counts"]["published"]) == (0, 4)
    (warning,) = document["warnings"]
    assert "could not read whether they belong to paid orders" in warning


def test_a_slow_search_is_cut_off_before_the_deadline_and_the_events_are_sent(
    invoke, database_url, mock_kafka, engine, insert
):
    """If the payments are slow to read, the search ends at a quarter of --deadline, and the run sends its events."""
    insert(3)
    with engine.begin() as connection:
        insert_late_failure(connection)
        slow_down_payments(connection, 30)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    document = json.loads(invoke("publish-outbox", "--deadline", "8s", "-o", "json", **places).stdout)
    assert (document["exit_code"], document["counts"]["published"]) == (0, 4)
    (warning,) = document["warnings"]
    assert "could not read whether they belong to paid orders" in warning


def test_a_run_sends_its_events_if_the_payments_cannot_be_read(invoke, database_url, mock_kafka, engine, insert):
    """If a read of the payments fails, the run sends its events, and says that payments were not read."""
    insert(3)
    with engine.begin() as connection:
        insert_late_failure(connection)
        connection.exec_driver_sql("ALTER TABLE payments RENAME TO real_payments")
        connection.exec_driver_sql(
            "CREATE VIEW payments AS SELECT * FROM real_payments WHERE 1 / (length(status::text) - 9) <> 0"
        )
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    document = json.loads(invoke("publish-outbox", "-o", "json", **places).stdout)
    assert (document["exit_code"], document["counts"]["published"]) == (0, 4)
    (warning,) = document["warnings"]
    assert "could not read whether they belong to paid orders" in warning
