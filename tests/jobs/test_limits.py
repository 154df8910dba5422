"""Test the time limits that each job sets for its database transactions."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4

import psycopg2.extensions
import pytest
from sqlalchemy import event

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError, GuardError, NotFoundError
from ticketbottle_payctl.jobs.cdc.cut_back import cdc_cut_back
from ticketbottle_payctl.jobs.cdc.cut_over import cdc_cut_over
from ticketbottle_payctl.jobs.cdc.mark import cdc_mark
from ticketbottle_payctl.jobs.cleanup import cleanup, preview_cleanup
from ticketbottle_payctl.jobs.close_event import find_event
from ticketbottle_payctl.jobs.complete_ids import (
    largest_error_groups,
    latest_receipts,
    latest_runs,
    orders_beginning_with,
)
from ticketbottle_payctl.jobs.connect import connect
from ticketbottle_payctl.jobs.error_groups import group_errors
from ticketbottle_payctl.jobs.find_order import find_order
from ticketbottle_payctl.jobs.find_receipt import find_receipt, require_receipts
from ticketbottle_payctl.jobs.fix_published_flags import preview_published_flags
from ticketbottle_payctl.jobs.list_rows import list_rows
from ticketbottle_payctl.jobs.measure_outbox import count_harmless_dead, measure_outbox
from ticketbottle_payctl.jobs.order import find_open, show
from ticketbottle_payctl.jobs.order.why_overdue import what_stops_every_event
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, preview_outbox, publish_outbox
from ticketbottle_payctl.jobs.reconcile.compare_outbox import compare_outbox
from ticketbottle_payctl.jobs.reconcile.database_clock import database_clock
from ticketbottle_payctl.jobs.reconcile.settle_payments import find_named, find_overdue, settle_findings
from ticketbottle_payctl.jobs.replay import (
    ReplayOptions,
    count_replay,
    plan_replay,
    refreshed,
    replay,
    report_finished,
    superseded_in,
)
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.runs import count_remaining, find_run, list_runs, show_run
from ticketbottle_payctl.jobs.server_identity import server_identity
from ticketbottle_payctl.jobs.stats import collect_stats
from ticketbottle_payctl.jobs.stats.live import collect_live
from ticketbottle_payctl.jobs.watch_payments import watch_payments
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments.overdue import Overdue

pytestmark = pytest.mark.postgres
NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def opened(engine):
    """Return a list that collects the settings of all further transactions, each as a dict."""
    found = []

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, sql, parameters=None):
            given = dict(re.findall(r"set_config\('(\w+)', '(\w+)', true\)", sql))
            if "statement_timeout" in given:
                found.append(given)
            return super().execute(sql, parameters)

    def watch(session, *_others):
        session.cursor_factory = Cursor

    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        insert_events(connection, 1, state="published", age=timedelta(days=30))
    event.listen(engine, "checkout", watch)
    return found


def limits(opened):
    """Return the set of the transactions' limits: statement, lock and idle time, in seconds."""
    return {tuple(int(given[name]) / 1000 for name in NAMES) for given in opened}


def test_a_replay_waits_up_to_half_a_minute_for_a_statement(engine, opened):
    """In a replay, a statement can take up to 30 seconds, and the selection of the events up to 60 seconds."""
    plan = plan_replay(engine, Selector(failed=True), max_retries=5)
    assert limits(opened) == {(60, 5, 60)}
    opened.clear()
    run = NewRun(str(uuid4()), "replay", Actor("ops", "bastion", "Linh"), options=ReplayOptions().stored())
    assert replay(engine, plan, run, ReplayOptions(), max_retries=5).requeued == 1
    assert limits(opened) - {(30, 5, timedelta(days=24).total_seconds())} == {(30, 5, 60)}


def test_a_cleanup_waits_up_to_ten_seconds_for_a_batch(engine, opened):
    """In a cleanup, a batch can take ten seconds and waits up to one second for a lock. Counts can take longer.

    A batch and the last count of the expired events must use an index.
    """
    report = cleanup(engine, retention=timedelta(days=7), max_retries=5)
    assert report.deleted == 1
    assert limits(opened) == {(10, 1, 60), (60, 5, 60), (300, 5, 60)}
    scans = {(given["statement_timeout"], given.get("enable_seqscan")) for given in opened}
    assert scans == {("10000", "off"), ("60000", "off"), ("300000", None)}
    opened.clear()
    preview_cleanup(engine, retention=timedelta(days=7), max_retries=5)
    assert limits(opened) == {(300, 5, 60)}


def test_a_publisher_waits_up_to_two_seconds_for_a_lock(engine, opened, mock_kafka):
    """A publisher waits up to two seconds for a lock. A statement that looks for obstacles can take five seconds."""
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    publish_outbox(engine, producer, PublishOptions())
    producer.close()
    assert limits(opened) == {(30, 2, 60), (5, 2, 60)}


def test_a_cut_over_keeps_its_locks_for_three_minutes(engine, opened):
    """A cut-over's transaction can be idle for three minutes, because it locks the shards until all events are sent."""
    with pytest.raises(ConfigError, match="no publication"):
        cdc_cut_over(engine, None, None, max_retries=5, shards=1, dry_run=True)
    assert limits(opened) == {(30, 5, 180)}


def test_a_reconcile_waits_up_to_five_seconds_for_a_statement(engine, opened):
    """When payctl settles payments, a statement can take five seconds, and three seconds for a lock."""
    run = NewRun(str(uuid4()), "reconcile payments", Actor("ops", "bastion", "Linh"))
    assert settle_findings(engine, [], run, stop=Event()) == []
    forever = timedelta(days=24).total_seconds()
    assert {each for each in limits(opened) if each[2] != forever} == {(5, 3, 1.5)}


def no_rows(connection, _limit, _after):
    """Read a page that has no rows."""
    connection.exec_driver_sql("SELECT 1")
    return []


NOW, WEEK = datetime(2026, 11, 29, 12, tzinfo=UTC), timedelta(days=7)
READERS = {
    "an order's history": (lambda e: show(e, "nobody", max_retries=5, now=NOW), 30, 5),
    "an order's findings": (lambda e: find_open(e, "nobody", max_retries=5, now=NOW), 30, 5),
    "why an event is overdue": (lambda e: what_stops_every_event(e, 5), 10, 5),
    "an event": (lambda e: find_event(e, "nobody", 5), 30, 5),
    "the payment of an order": (lambda e: find_order(e, "nobody"), 5, 3),
    "a callback": (lambda e: find_receipt(e, str(uuid4())), 5, 3),
    "the table of callbacks": (require_receipts, 5, 3),
    "the statistics": (lambda e: collect_stats(e, max_retries=5), 30, 5),
    "the size of the outbox": (lambda e: measure_outbox(e, 5), 30, 5),
    "the harmless dead events": (lambda e: count_harmless_dead(e, 5), 5, 5),
    "a report": (lambda e: collect_report(e, NOW, NOW + timedelta(hours=1), max_retries=5, retention=WEEK), 15, 5),
    "a live screen": (lambda e: collect_live(e, max_retries=5), 30, 5),
    "the error groups": (lambda e: group_errors(e, Selector(), max_retries=5, limit=9), 30, 5),
    "a page of rows": (
        lambda e: list(list_rows(e, lambda c, *_: c.exec_driver_sql("SELECT 1").all() and [], limit=9)),
        30,
        5,
    ),
    "the runs": (lambda e: list_runs(e, 9), 10, 5),
    "the server": (server_identity, 5, 5),
    "a connection": (connect, 30, 5),
    "cdc mark": (lambda e: cdc_mark(e, None, 5), 30, 5),
    "cdc cut-back": (lambda e: cdc_cut_back(e, None, 5), 30, 5),
    "the gateways' callbacks": (watch_payments, 20, 5),
    "the events to publish": (lambda e: preview_outbox(e, PublishOptions()), 30, 2),
    "suggested runs": (latest_runs, 0.8, 0.2),
    "suggested error groups": (lambda e: largest_error_groups(e, 5), 0.8, 0.2),
    "suggested callbacks": (latest_receipts, 0.8, 0.2),
    "suggested orders": (lambda e: orders_beginning_with(e, "TB-"), 0.8, 0.2),
    "the plan of a replay": (lambda e: plan_replay(e, Selector(), max_retries=5), 60, 5),
    "the number of events to replay": (
        lambda e: count_replay(e, Selector(), max_retries=5, allow_published=False, allow_superseded=False),
        60,
        5,
    ),
    "a plan file": (
        lambda e: refreshed(e, plan_replay(e, Selector(failed=True), max_retries=5), allow_superseded=True),
        60,
        5,
    ),
    "the events that expire": (lambda e: preview_cleanup(e, retention=WEEK, max_retries=5), 300, 5),
    "the result of a cleanup without changes": (
        lambda e: cleanup(e, retention=WEEK, max_retries=5, dry_run=True),
        300,
        5,
    ),
    "the half-marked events": (preview_published_flags, 30, 5),
    "the overdue payments": (lambda e: find_overdue(e, Overdue(NOW, {}), 9), 60, 5),
    "the named payments": (lambda e: find_named(e, ["nobody"]), 60, 5),
    "the time of the database": (database_clock, 10, 5),
}
"""Jobs that only read, each with its limits for a statement and for a lock, in seconds."""


@pytest.mark.parametrize("name", READERS)
def test_a_job_that_reads_limits_each_statement_and_commits_nothing(engine, opened, name):
    """A job that only reads limits the time of each statement and of each lock, and does not commit a transaction."""
    read, statement, lock = READERS[name]
    commits = []
    event.listen(engine, "commit", commits.append)
    with contextlib.suppress(NotFoundError, GuardError):
        read(engine)
    assert (limits(opened), commits) == ({(statement, lock, 60)}, [])


def test_commands_about_a_run_limit_each_statement_and_commit_nothing(engine, opened):
    """The commands that show a replay, or ask before they resume it, limit each statement and commit nothing."""
    options = ReplayOptions(allow_superseded=True)
    run = NewRun(str(uuid4()), "replay", Actor("ops", "bastion", "Linh"), options=options.stored())
    replay(engine, plan_replay(engine, Selector(failed=True), max_retries=5), run, options, max_retries=5)
    found = find_run(engine, run.id)
    commits = []
    event.listen(engine, "commit", commits.append)
    for read, expected in (
        (lambda: show_run(engine, run.id, 9, 5), {(10, 5, 60), (5, 1, 60)}),
        (lambda: count_remaining(engine, found), {(10, 5, 60)}),
        (lambda: superseded_in(engine, found), {(60, 5, 60)}),
        (lambda: report_finished(engine, found, max_retries=5), {(30, 5, 60)}),
    ):
        opened.clear()
        assert read() is not None
        assert (limits(opened), commits) == (expected, [])


def test_a_comparison_with_kafka_waits_two_minutes_for_its_statement(engine, opened):
    """The comparison of the outbox with Kafka can take two minutes to read the events, and commits nothing."""
    commits = []
    event.listen(engine, "commit", commits.append)
    with pytest.raises(NotFoundError):
        compare_outbox(engine, no_records, since=NOW, until=NOW + timedelta(hours=1))
    assert (limits(opened), commits) == ({(120, 5, 120)}, [])


def no_records(*_arguments):
    """Fail as a reader of topics does if Kafka has none of them."""
    message = "no topic"
    raise NotFoundError(message)


NO_SCAN = (
    "the statistics", "the harmless dead events", "a live screen", "the events to publish", "why an event is overdue",
)  # fmt: skip
"""Jobs in ``READERS`` that must use an index even if PostgreSQL has no statistics about the outbox."""


@pytest.mark.parametrize("name", NO_SCAN)
def test_a_job_that_reads_unpublished_events_forbids_a_scan_of_the_outbox(engine, opened, name):
    """A job that reads the unpublished events turns off scans of the whole outbox in each of its transactions.

    PostgreSQL does not compile the statements of these transactions.
    """
    READERS[name][0](engine)
    assert {(given.get("enable_seqscan"), given.get("jit")) for given in opened} == {("off", "off")}


NOT_COMPILED = (
    "an order's history", "an order's findings", "an event", "a report", "the error groups", "a page of rows",
    "suggested runs", "suggested error groups", "suggested callbacks", "suggested orders", "the plan of a replay",
    "the number of events to replay", "a plan file", "the size of the outbox",
)  # fmt: skip
"""Jobs in ``READERS`` that forbid PostgreSQL to compile their statements."""


@pytest.mark.parametrize("name", NOT_COMPILED)
def test_the_statements_of_some_jobs_are_not_compiled(engine, opened, name):
    """PostgreSQL does not compile the statements of these jobs, because this takes longer than to run them."""
    with contextlib.suppress(NotFoundError):
        READERS[name][0](engine)
    assert {given.get("jit") for given in opened} == {"off"}
