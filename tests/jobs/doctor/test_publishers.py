"""Test the doctor's findings about the last publisher, and the doctor's advice."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from threading import Event, Thread

import psycopg2
import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.doctor import Status
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings, KafkaSettings
from ticketbottle_payctl.store.db.engine import make_engine
from ticketbottle_payctl.store.inspect.publishers import APPLICATION
from ticketbottle_payctl.store.outbox import shard_lock

pytestmark = pytest.mark.postgres

SEEN = "INSERT INTO payctl.publishers VALUES ({place}, 'host:{place}:x', clock_timestamp() - interval '{ago}')"
IDLES, GONE, OTHER = (
    SEEN.format(place=place, ago=ago) for place, ago in ((1000, "20 s"), (1000, "1 h"), (4000, "9 s"))
)

NO_BROKERS = "Kafka at b:9092 is not available"
CUT_OFF = SEEN.format(place=1, ago="20 s").replace("host:1:x", f"loop:1:x cannot reach its brokers: {NO_BROKERS}")


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
    """The doctor distinguishes an idle publisher from a publisher that has ended or was last seen an hour ago."""
    with running(engine, mock_kafka.bootstrap):
        (finding,) = look("publishers")
    assert finding.status is Status.OK
    assert "one publisher is idle" in finding.fact or "shard 0 of 1: pid" in finding.fact
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


@pytest.mark.parametrize(
    ("statement", "shards", "status", "words"),
    [
        (None, 1, "ok", "no publisher has run yet"),
        (IDLES, 1, "ok", "one publisher is idle with PAYCTL_SHARDS=1: host:1000, last seen 2"),
        (IDLES, 2, "warn", "one publisher is idle with PAYCTL_SHARDS=1: host:1000, last seen 2"),
        (OTHER, 4, "ok", "one publisher is idle with PAYCTL_SHARDS=4: host:4000, last seen "),
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


def test_the_doctor_names_the_idle_publisher_and_not_one_that_ended_later(look, execute):
    """If a publisher loop is idle, the doctor names the loop, even if a scheduled publisher ended more recently."""
    execute(IDLES)
    execute(SEEN.format(place=2000, ago="1 s").replace("host:2000:x", "cron:2:x ended"))
    (finding,) = look("publishers")
    assert "one publisher is idle with PAYCTL_SHARDS=1: host:1000, last seen " in finding.fact


def test_the_doctor_names_each_running_publisher(look, execute):
    """If two publisher loops are running, the doctor names both, beginning with the loop that was seen last."""
    execute(SEEN.format(place=2000, ago="20 s"))
    execute(SEEN.format(place=2002, ago="9 s"))
    execute(SEEN.format(place=3000, ago="3 min"))
    facts = [(finding.status, finding.fact.partition(", last seen")[0]) for finding in look("publishers", shards=2)]
    named = "one publisher is idle with PAYCTL_SHARDS=2: host"
    assert facts == [(Status.OK, f"{named}:2002"), (Status.OK, f"{named}:2000")]


def test_the_doctor_names_an_idle_publisher_next_to_one_that_works(look, engine, execute):
    """If a publisher holds one shard and another publisher is idle, the doctor names both."""
    execute(SEEN.format(place=2000, ago="20 s"))
    execute(SEEN.format(place=2002, ago="9 s"))
    with engine.connect() as connection:
        shard_lock.enter(connection, 0, 2, 0, "host:2000:x")
        facts = [finding.fact for finding in look("publishers", shards=2)]
    assert [facts[0][:15], facts[1].partition(", last seen")[0]] == [
        "shard 0 of 2: p",
        "one publisher is idle with PAYCTL_SHARDS=2: host:2002",
    ]


def test_the_doctor_counts_a_publisher_on_standby(look, execute, database_url):
    """Only database sessions show a publisher on standby, so the doctor counts such publishers by their sessions."""
    execute(SEEN.format(place=1000, ago="9 s"))
    with ExitStack() as opened:
        for _ in range(4):
            parameters = {"dsn": database_url, "application_name": APPLICATION}
            connection = opened.enter_context(closing(psycopg2.connect(**parameters)))
            connection.cursor().execute("SELECT")
        facts = [finding.fact for finding in look("publishers")]
    assert facts[1:] == ["at least 1 more publisher is on standby, judged by the database sessions"]


@pytest.mark.parametrize(
    ("ended", "status", "words"),
    [
        (False, "ok", "one publisher is idle: loop:1, last seen 2"),
        (True, "ok", "no publisher is running now; loop:1 ended 2"),
    ],
)
def test_an_event_that_was_sent_since_ends_an_outage_of_the_brokers(look, insert, execute, ended, status, words):
    """If an event was sent since a publisher could not reach its brokers, the doctor no longer names the outage.

    `payctl stats` gives the same verdict.
    """
    execute(CUT_OFF.replace(" cannot reach its brokers: ", " ended without its brokers: ") if ended else CUT_OFF)
    insert(1, state="published", age=timedelta(seconds=5))
    (finding,) = look("publishers")
    assert (finding.status.value, words in finding.fact) == (status, True), finding


@pytest.mark.parametrize(
    ("cron_ended", "status", "words"),
    [
        ("5 s", "ok", "no publisher is running now; cron:2 ended 5"),
        ("80 s", "warn", "publisher loop:1 could not reach its brokers 2"),
    ],
)
def test_the_doctor_does_not_call_a_publisher_without_brokers_idle(look, execute, cron_ended, status, words):
    """A loop that cannot reach its brokers does not count as idle, no matter when a scheduled publisher ended."""
    execute(CUT_OFF)
    execute(SEEN.format(place=2000, ago=cron_ended).replace("host:2000:x", "cron:2:x ended"))
    (finding,) = look("publishers", shards=2)
    assert (finding.status.value, words in finding.fact, "loop:1" in finding.fact) == (status, True, status == "warn")


def test_an_idle_publisher_is_named_before_one_without_brokers(look, execute):
    """If one publisher is idle and an earlier one could not reach its brokers, the doctor names the idle publisher."""
    execute(CUT_OFF)
    execute(SEEN.format(place=4000, ago="9 s"))
    (finding,) = look("publishers", shards=4)
    found = finding.fact.startswith("one publisher is idle with PAYCTL_SHARDS=4: host:4000")
    assert (finding.status, found) == (Status.OK, True), finding


@pytest.mark.parametrize("events", [0, 1])
def test_the_doctor_says_what_events_do_without_brokers(look, insert, execute, events):
    """With and without waiting events, the doctor says that events wait for the brokers and use up no retries."""
    insert(events)
    execute(CUT_OFF)
    (finding,) = look("publishers")
    assert finding.meaning == f"{NO_BROKERS}. Events wait until a publisher reaches its brokers, and use up no retries"


@pytest.mark.parametrize(
    ("ended", "bootstrap", "remedy", "command"),
    [
        (False, None, "this machine reaches the brokers; if loop:1 keeps failing, read its log, and compare its KAFKA_",
         None),
        (True, None, "the brokers answer now; wait for the next scheduled run; if none is scheduled, publish by",
         ("publish-outbox",)),
        (False, "127.0.0.1:1", "check that the brokers run and can be reached", ("doctor",)),
        (False, "", "check that the brokers run and can be reached", ("doctor",)),
    ],
)  # fmt: skip
def test_the_advice_about_a_publisher_without_brokers_follows_from_the_brokers(
    look, execute, mock_kafka, ended, bootstrap, remedy, command
):
    """If the brokers answer the doctor, it advises checking the publisher instead of the brokers."""
    execute(CUT_OFF.replace(" cannot reach its brokers: ", " ended without its brokers: ") if ended else CUT_OFF)
    address = mock_kafka.bootstrap if bootstrap is None else bootstrap
    (finding,) = [each for each in look("kafka", "publishers", bootstrap=address) if each.check == "publishers"]
    assert (finding.remedy.startswith(remedy), finding.command and finding.command.verb) == (True, command)


@pytest.mark.parametrize(
    ("bootstrap", "remedy"),
    [
        (None, "start the publisher again; until then, publish by hand"),
        ("127.0.0.1:1", "start the publisher again after the brokers are available"),
        ("", "start the publisher again; until then, publish by hand (if that exits with 4, run payctl doctor)"),
    ],
)
def test_the_advice_about_a_missing_publisher_follows_from_the_brokers(look, execute, mock_kafka, bootstrap, remedy):
    """If the brokers do not answer the doctor, it does not advise publishing by hand.

    If Kafka is not configured, the advice says what to do if publishing by hand exits with code 4.
    """
    execute(GONE)
    (finding,) = look("publishers", bootstrap=mock_kafka.bootstrap if bootstrap is None else bootstrap)
    assert (finding.remedy, finding.command is None) == (remedy, bool(bootstrap))


def test_the_doctor_says_that_a_publisher_does_not_send_a_waiting_event(look, insert, execute):
    """If an event has waited for ten seconds, the doctor says that no publisher is active.

    Whether a publisher was seen lately does not matter. The finding is a warning only if the event is overdue. A
    different number of shards is still a warning.
    """
    execute(IDLES)
    insert(1, age=timedelta(seconds=30))
    (finding,) = look("publishers")
    assert finding.status is Status.OK
    assert re.fullmatch(r"no publisher is active; host:1000 was seen 2\S+ s ago", finding.fact)
    execute("""UPDATE outbox SET "createdAt" = "createdAt" - interval '3 min'""")
    (finding,) = look("publishers")
    assert (finding.status, finding.command) == (Status.WARN, None)
    assert finding.remedy == "if it has ended, start it again; otherwise read its log"
    execute(OTHER)
    assert [each.status for each in look("publishers")] == [Status.WARN, Status.WARN]
    execute("""UPDATE outbox SET "retryCount" = 20, "createdAt" = "createdAt" + interval '2 min'""")
    assert all("is idle" in each.fact for each in look("publishers", max_retries=30))


def test_a_publisher_whose_topic_refuses_messages_is_active(look, insert, execute, database_url, mock_kafka):
    """If a running publisher may not write to the topic of a waiting event, the doctor still says that it is running.

    Between two attempts the publisher is idle, and the event stays ready. The publisher uses its session every second.
    """
    own = make_engine(DatabaseSettings(Secret(database_url)), application=APPLICATION)
    insert(1, age=timedelta(seconds=30))
    mock_kafka.fail_topic("payment.completed", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    try:
        with running(own, mock_kafka.bootstrap):
            execute("UPDATE payctl.publishers SET since = since - interval '20 s'")
            facts = [each.fact for _ in range(20) for each in look("publishers")]
    finally:
        mock_kafka.fail_topic("payment.completed", 0)
        own.dispose()
    assert [fact for fact in facts if not fact.startswith(("one publisher is idle", "shard 0 of 1"))] == []


def test_a_lock_that_hides_the_events_does_not_hide_the_publishers(look, insert, execute, engine):
    """If a session locks the outbox after the doctor has read the publishers, the doctor still names the publisher."""
    execute(IDLES)
    insert(1, age=timedelta(seconds=30))
    with engine.connect() as other:
        calls = []

        def database():
            calls.append(len(calls))
            if len(calls) == 3:  # the doctor connects, reads the publishers, and then reads the events
                other.exec_driver_sql("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
            return engine

        (finding,) = look("publishers", database=database)
        other.rollback()
    assert len(calls) == 4
    assert finding.fact.startswith("one publisher is idle with PAYCTL_SHARDS=1: host:1000")
