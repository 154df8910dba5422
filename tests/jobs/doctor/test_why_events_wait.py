"""Test the doctor's findings about pending events when the database or the cluster has a known fault."""

from __future__ import annotations

import re
from contextlib import closing, nullcontext
from datetime import timedelta

import psycopg2
import pytest

from ticketbottle_payctl.jobs.doctor import Status
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import shard_lock

pytestmark = pytest.mark.postgres

MINUTES = timedelta(minutes=10)
SEEN = "INSERT INTO payctl.publishers VALUES ({place}, 'host:{place}:x', clock_timestamp() - interval '{ago}')"
IDLES, GONE, OTHER = (
    SEEN.format(place=place, ago=ago) for place, ago in ((1000, "20 s"), (1000, "1 h"), (4000, "9 s"))
)


@pytest.fixture
def cluster(made):
    """Yield a function that starts a mock cluster with the given topics and returns its address."""
    opened = []

    def start(*topics):
        opened.append(made(MockKafka))
        for topic in topics:
            opened[-1].create_topic(topic)
        return opened[-1].bootstrap

    yield start
    for one in opened:
        one.close()


def test_the_doctor_finds_no_fault_if_no_event_is_overdue(look, insert):
    """If all events are published or were just created, the doctor's finding about the backlog is ok."""
    insert(3, state="published")
    (finding,) = look()
    assert (finding.status, finding.fact) == (Status.OK, "no event is pending or dead")
    insert(1)
    (finding,) = look()
    assert (finding.status, finding.fact.startswith("1 event pending, the oldest for ")) == (Status.OK, True)


@pytest.mark.parametrize(
    ("event", "statements", "status", "words"),
    [
        ({"age": MINUTES}, [], "fail", "no publisher has ever run on this database"),
        ({"age": MINUTES}, [GONE], "fail", "no publisher has been seen for 1 h; the last one was host:1000"),
        ({"age": MINUTES}, [IDLES, OTHER], "fail", "publishers run with different PAYCTL_SHARDS: 1 (host:1000) and 4"),
        ({"age": MINUTES}, [IDLES], "fail", "and no known cause was found"),
        ({"age": MINUTES, "retry_count": 2, "last_error": "INVALID: no"}, [IDLES], "fail", "and failed: INVALID: no"),
        ({"age": MINUTES, "retry_count": 1, "last_error": "INVALID: no"}, [IDLES], "fail", "and failed: INVALID: no"),
        ({"age": MINUTES / 2, "retry_count": 6}, [IDLES], "fail", "and failed: no error was recorded"),
        ({"age": MINUTES / 2, "retry_count": 8}, [IDLES], "warn", "waits for the next retry in "),
        ({"state": "dead", "last_error": "MSG_SIZE_TOO_LARGE: no", "event_type": "PAYMENT_FAILED"}, [], "fail",
         "is dead: MSG_SIZE_TOO_LARGE: no"),
        ({"state": "published"}, ["UPDATE outbox SET published = false"], "ok", "no event is pending or dead"),
    ],
)  # fmt: skip
def test_the_doctor_finds_the_cause_of_a_dead_or_overdue_event(look, insert, execute, event, statements, status, words):
    """The doctor derives the cause of a dead or overdue event from the rows, retry counts and heartbeats."""
    insert(1, **event)
    for statement in statements:
        execute(statement)
    (finding,) = look(max_retries=20) if "retry_count" in event else look()
    assert (finding.status.value, words in finding.fact) == (status, True), finding
    assert (finding.remedy is None and finding.command is None) == (status == "ok")


def test_the_finding_about_overdue_events_has_the_age_of_the_oldest(look, insert, execute):
    """The doctor's finding about overdue events says how many there are and how old the oldest one is."""
    insert(1, age=MINUTES)
    insert(1, age=MINUTES / 2)
    execute(IDLES)
    (finding,) = look()
    assert finding.fact.startswith("2 events have waited for up to 10 min")


def test_only_events_of_the_same_payment_wait_behind_a_failing_event(look, insert, execute):
    """The doctor's finding about a failing event counts only waiting events of the same payment."""
    insert(1, age=MINUTES, retry_count=2, last_error="INVALID: no")
    insert(1, age=MINUTES / 2)
    execute(IDLES)
    failing, other = sorted(finding.fact for finding in look(max_retries=20))
    assert failing.startswith("1 event has waited for 10 min")
    assert failing.endswith("and failed: INVALID: no")
    assert other.startswith("1 event has waited for 5 min")
    execute("""UPDATE outbox SET "aggregateId" = 'one'""")
    (finding,) = look(max_retries=20)
    assert finding.fact.startswith("1 event has waited for 10 min")
    assert finding.fact.endswith("and failed: INVALID: no; 1 more event waits behind it")


def test_an_event_without_an_answer_from_the_brokers_used_up_no_retry(look, insert, execute):
    """The doctor says that the last attempt failed without using up a retry, and that the brokers answer now."""
    insert(2, age=MINUTES, last_error="_MSG_TIMED_OUT: no")
    execute(IDLES)
    (finding,) = look()
    assert re.match("2 events have waited for up to 10 min.*; the last attempt failed, but used up no", finding.fact)
    assert (finding.status, "this machine reaches the brokers" in finding.remedy) == (Status.FAIL, True)


def test_the_finding_about_a_blocked_event_names_it_and_the_dead_event(look, insert, execute):
    """If a pending event is behind a dead event of its payment, the doctor names the pending and the dead event."""
    insert(1, state="dead", age=MINUTES)
    insert(1, age=timedelta(seconds=5))
    execute("""UPDATE outbox SET "aggregateId" = 'one'""")
    insert(1)
    dead, behind, _ = execute('SELECT id FROM outbox ORDER BY "createdAt"')
    order = execute("SELECT payload->>'order_code' FROM outbox ORDER BY \"createdAt\"")[1]
    found = look()
    assert [finding.status for finding in found] == [Status.FAIL] * 3
    assert found[2].fact == f"{order} ({behind[:8]}) waits behind dead event {dead[:8]}"
    execute("""UPDATE outbox SET "createdAt" = "createdAt" - interval '1 h' WHERE "retryCount" = 0""")
    assert not any("waits behind" in finding.fact for finding in look())


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE outbox SET id = id", "2 events are locked by pid {pid}, payctl as postgres, idle in transaction"),
        ("SELECT id FROM outbox FOR UPDATE", "2 events are locked by pid {pid}"),
        ("SELECT id FROM outbox ORDER BY id LIMIT 1 FOR NO KEY UPDATE", "1 event is locked by pid {pid}"),
        ("LOCK TABLE outbox IN SHARE MODE", "the outbox table is locked by pid {pid}, payctl as postgres"),
        ("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE", "the outbox table is locked by pid {pid}"),
        ("SELECT id FROM outbox", None),
    ],
)  # fmt: skip
def test_the_doctor_names_the_session_that_locks_outbox_rows(engine, look, insert, execute, statement, words):
    """If a session locks outbox rows, the doctor names its pid, application and state."""
    insert(2, age=MINUTES)
    execute(IDLES)
    with transaction(engine, Limits(), commit=False) as holder:
        holder.exec_driver_sql(statement)
        pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        found = look()
    locks = [finding for finding in found if "locked by" in finding.fact]
    assert [finding.status for finding in locks] == ([Status.FAIL] if words else [])
    for finding in locks:
        assert words.format(pid=pid) in finding.fact
        assert f"pg_terminate_backend({pid})" in finding.sql
    assert "no known cause" in look()[0].fact


def test_the_doctor_says_how_to_find_the_session_that_locks_another_table(engine, look, insert, empty_database_url):
    """If a table other than the outbox is locked, the doctor's advice is the SQL that lists the sessions.

    The SQL lists only locks in the database in which it runs.
    """
    insert(1, age=MINUTES)
    with transaction(engine, Limits(), commit=False) as holder:
        holder.exec_driver_sql("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
        (finding,) = look()
        assert finding.remedy.endswith("locks or wants to lock another table, run in psql")
        pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        assert (pid, "payments", True) in [tuple(row) for row in holder.exec_driver_sql(finding.sql)]
        with closing(psycopg2.connect(empty_database_url)) as other, other.cursor() as cursor:
            cursor.execute(finding.sql)
            assert cursor.fetchall() == []
    assert (finding.status, "lock timeout" in finding.fact) == (Status.FAIL, True)


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        (["payment.failed", "payment.cancelled"], "topic payment.completed does not accept messages"),
        ([], "topic payment.completed does not accept messages"),
    ],
)
def test_the_doctor_names_a_missing_topic_as_the_cause_of_pending_events(look, insert, execute, cluster, topics, words):
    """If a topic is missing, the doctor's finding about the waiting events names this topic."""
    insert(2, age=MINUTES, event_type="PAYMENT_COMPLETED")
    execute(IDLES)
    (finding,) = look(bootstrap=cluster(*topics))
    assert (finding.status, words in finding.fact) == (Status.FAIL, True)


@pytest.mark.parametrize(("bootstrap", "words"), [("127.0.0.1:1", "is not available"), ("", "no known cause")])
def test_the_finding_about_pending_events_says_if_the_brokers_are_unavailable(look, insert, execute, bootstrap, words):
    """The doctor's finding about pending events says if the brokers are unavailable or KAFKA_BROKERS is not set."""
    insert(1, age=MINUTES)
    execute(IDLES)
    (finding,) = look(bootstrap=bootstrap)
    assert (finding.status, words in finding.fact) == (Status.FAIL, True)
    assert bootstrap or "KAFKA_BROKERS is not set" in finding.meaning


@pytest.mark.parametrize("lock", [nullcontext, transaction])
def test_an_overdue_backlog_is_a_warning_while_a_publisher_drains_it(look, engine, insert, execute, lock):
    """The doctor reports an overdue backlog as a warning if a publisher holds the shard, and otherwise as a failure."""
    insert(5, age=MINUTES)
    execute(IDLES)
    held = lock(engine, Limits(), commit=False) if lock is transaction else nullcontext()
    with held as connection:
        if connection is not None:
            shard_lock.enter(connection, 0, 1, 0, "us")
        (finding,) = look()
    working = connection is not None
    assert finding.status is (Status.WARN if working else Status.FAIL)
    assert ("a publisher is working through them" in finding.fact) == working
