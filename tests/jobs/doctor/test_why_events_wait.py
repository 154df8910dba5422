"""Test the doctor's findings about pending events when the database or the cluster has a known fault."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import Status, Subject, diagnose
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import shard_lock

pytestmark = pytest.mark.postgres

MINUTES = timedelta(minutes=10)
SEEN = "INSERT INTO payctl.publishers VALUES ({place}, 'host:{place}:x', clock_timestamp() - interval '{ago}')"
IDLES, GONE, OTHER = (
    SEEN.format(place=place, ago=ago) for place, ago in ((1000, "20 s"), (1000, "1 h"), (4000, "9 s"))
)

NO_BROKERS = "Kafka at b:9092 is not available"
CUT_OFF = SEEN.format(place=1, ago="20 s").replace("host:1:x", f"loop:1:x cannot reach its brokers: {NO_BROKERS}")


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


@pytest.fixture
def look(engine, mock_kafka):
    """Yield a function that runs the doctor's backlog check and returns the findings."""
    opened = []

    def run(*only, bootstrap=mock_kafka.bootstrap, **changes):
        def producer():
            if not bootstrap:
                message = "KAFKA_BROKERS is not set"
                raise ConfigError(message)
            opened.append(Producer(producer_config(KafkaSettings(bootstrap))))
            return opened[-1]

        subject = Subject(
            engine=lambda: engine,
            kafka=lambda: KafkaSettings(bootstrap),
            producer=producer,
            credentials=lambda _: {},
            now=lambda: datetime.now(UTC),
            **changes,
        )
        return diagnose(subject, only or ["backlog"]).findings

    yield run
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
    assert (finding.status, "the brokers answer here" in finding.remedy) == (Status.FAIL, True)


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


@contextmanager
def running(engine, bootstrap):
    """Run a publisher loop in another thread during the ``with`` block."""
    stop, ready = Event(), Event()
    producer = Producer(producer_config(KafkaSettings(bootstrap)))
    thread = Thread(target=publish_outbox, args=(engine, producer, PublishOptions(loop=True)), kwargs={"stop": stop})
    thread.start()
    ready.wait(2)
    yield
    stop.set()
    thread.join(20)
    producer.close()


def test_the_doctor_distinguishes_an_idle_publisher_from_one_that_ended(look, engine, mock_kafka, execute):
    """The doctor distinguishes an idle publisher from one that has ended or was last seen an hour ago."""
    with running(engine, mock_kafka.bootstrap):
        (finding,) = look("publishers")
    assert finding.status is Status.OK
    assert "one is idle" in finding.fact or "shard 0 of 1: pid" in finding.fact
    (finding,) = look("publishers")
    assert (finding.status, "no publisher is running now" in finding.fact) == (Status.OK, True)
    assert re.search(r" ended .* ago; a scheduled one starts again within a minute$", finding.fact)
    execute("UPDATE payctl.publishers SET since = since - interval '1 h'")
    (finding,) = look("publishers")
    assert (finding.status, "no publisher has been seen for 1 h" in finding.fact) == (Status.WARN, True)
    assert finding.command.verb == ("publish-outbox",)


@pytest.mark.parametrize(
    "statement", [None, IDLES.replace(":x", ":x ended"), IDLES.replace("20 s", "5 min")], ids=["never", "ended", "gone"]
)
def test_a_missing_publisher_is_a_warning_if_an_event_is_overdue(look, insert, execute, statement):
    """If no publisher is running, the doctor warns only if an event is overdue."""
    if statement:
        execute(statement)
    (finding,) = look("publishers")
    assert finding.status is Status.OK
    insert(1, age=timedelta(hours=1))
    (finding,) = look("publishers")
    assert (finding.status, finding.meaning) == (Status.WARN, "an event has waited for 1 h")
    assert finding.command.verb == ("publish-outbox",)


def test_no_publisher_counts_as_missing_if_every_event_is_blocked(look, insert, execute):
    """If every pending event is blocked, the doctor does not warn about a missing publisher."""
    insert(1, state="dead", age=timedelta(hours=2))
    insert(1, age=timedelta(hours=1))
    execute("""UPDATE outbox SET "aggregateId" = 'one'""")
    (finding,) = look("publishers")
    assert finding.status is Status.OK
    insert(1, age=timedelta(hours=3))
    (finding,) = look("publishers")
    assert (finding.status, finding.meaning) == (Status.WARN, "an event has waited for 3 h")


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


@pytest.mark.parametrize(
    ("statement", "shards", "status", "words"),
    [
        (None, 1, "ok", "no publisher has run yet"),
        (IDLES, 1, "ok", "one is idle with PAYCTL_SHARDS=1: host:1000, last seen 2"),
        (IDLES, 2, "warn", "one is idle with PAYCTL_SHARDS=1: host:1000, last seen 2"),
        (OTHER, 4, "ok", "one is idle with PAYCTL_SHARDS=4: host:4000, last seen "),
        (IDLES.replace(":x", ":x ended"), 1, "ok", "no publisher is running now; host:1000 ended 2"),
        (IDLES.replace("20 s", "5 min"), 1, "ok", "no publisher is running now; host:1000 was seen 5 min"),
        (GONE, 1, "warn", "no publisher has been seen for 1 h; the last one was host:1000"),
    ],
)
def test_the_doctor_describes_the_last_publisher(look, execute, statement, shards, status, words):
    """The doctor says whether the last publisher is idle or has ended.

    The doctor warns if the number of shards that the publisher used differs from the setting.
    """
    if statement:
        execute(statement)
    (finding,) = look("publishers", shards=shards)
    assert (finding.status.value, words in finding.fact) == (status, True), finding


@pytest.mark.parametrize(
    ("cron_ended", "status", "words"),
    [
        ("5 s", "ok", "no publisher is running now; cron:2 ended 5"),
        ("80 s", "warn", "publisher loop:1 could not reach its brokers 2"),
    ],
)
def test_the_doctor_does_not_call_a_publisher_without_brokers_idle(look, execute, cron_ended, status, words):
    """If a loop cannot reach its brokers, it is not idle, whenever a scheduled publisher ended."""
    execute(CUT_OFF)
    execute(SEEN.format(place=2000, ago=cron_ended).replace("host:2000:x", "cron:2:x ended"))
    (finding,) = look("publishers", shards=2)
    assert (finding.status.value, words in finding.fact, "loop:1" in finding.fact) == (status, True, status == "warn")


def test_an_idle_publisher_is_named_before_one_without_brokers(look, execute):
    """If one publisher is idle and an earlier one could not reach its brokers, the doctor names the idle one."""
    execute(CUT_OFF)
    execute(SEEN.format(place=4000, ago="9 s"))
    (finding,) = look("publishers", shards=4)
    found = finding.fact.startswith("one is idle with PAYCTL_SHARDS=4: host:4000")
    assert (finding.status, found) == (Status.OK, True), finding


@pytest.mark.parametrize("events", [0, 1])
def test_the_doctor_says_what_events_do_without_brokers(look, insert, execute, events):
    """The finding is true with and without waiting events: events wait, and use up no retries."""
    insert(events)
    execute(CUT_OFF)
    (finding,) = look("publishers")
    assert finding.meaning == f"{NO_BROKERS}. Events wait until a publisher reaches its brokers, and use up no retries"
