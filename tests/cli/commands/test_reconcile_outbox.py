"""Test ``payctl reconcile outbox``, which compares published outbox events with the messages in Kafka."""

from __future__ import annotations

import shlex
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from sqlalchemy import text

from tests.cli.output.test_schemas import check
from ticketbottle_payctl.broker import window
from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.broker.range_reader import RangeReader
from ticketbottle_payctl.broker.window import WindowQuery, read_window
from ticketbottle_payctl.cli.commands.reconcile.outbox_result import unchanged
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.jobs.reconcile.compare_outbox import Difference, Disagreement, OutboxComparison
from ticketbottle_payctl.jobs.replay import plan_replay
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.sent_events import created_between

pytestmark = pytest.mark.postgres

SENT = 5


@pytest.fixture
def world(database_url, kafka):
    """Return the settings for the test's database and for Apache Kafka.

    These tests need Apache Kafka, because the mock cluster cannot look up offsets by time.
    """
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": kafka.bootstrap}


@pytest.fixture
def compare(answer, world):
    """Return a function that runs `reconcile outbox` and returns the validated document."""

    def run(*arguments):
        document = answer("reconcile", "outbox", "--deadline", "20s", *arguments, **world)
        check(document)
        return document

    return run


@pytest.fixture
def published(engine, answer, world):
    """Publish five events with payctl. Return each event's id, key and value, starting with the oldest event."""
    with engine.begin() as connection:
        insert_events(connection, SENT, age=timedelta(minutes=2))
    assert answer("publish-outbox", **world)["counts"]["published"] == SENT
    with engine.begin() as connection:
        return connection.execute(
            text('SELECT id, "aggregateId", payload::text FROM outbox ORDER BY "createdAt", id')
        ).all()


@pytest.fixture
def send(kafka):
    """Return a function that sends a message about an event to Kafka without payctl."""

    def put(event_id, key, value, *, topic="payment.completed", **headers):
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
        producer.produce(topic, value, key, headers={"id": event_id, "eventId": event_id, **headers})
        assert producer.flush(10) == 0

    return put


def differences(document):
    """Return each difference in the document, with its event id."""
    return {(item["difference"], item["event_id"]) for item in document["items"]}


@pytest.mark.usefixtures("published")
def test_reconcile_finds_no_difference_after_publishing(compare):
    """If all events are published, `reconcile outbox` finds no difference and exits with 0."""
    document = compare()
    assert (document["exit_code"], document["counts"]["compared"], document["items"]) == (0, SENT, [])


@pytest.fixture
def lose(engine):
    """Return a function that inserts events marked as published without sending them, and returns their ids."""

    def insert(count=1, **columns):
        with engine.begin() as connection:
            before = set(connection.execute(text("SELECT id FROM outbox")).scalars())
            insert_events(connection, count, state="published", **columns)
            return sorted(set(connection.execute(text("SELECT id FROM outbox")).scalars()) - before)

    return insert


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("state", ["published", "sent_unmarked"])
def test_reconcile_calls_a_published_event_without_a_record_lost(state, compare, engine, lose):
    """`reconcile outbox` calls a published or half-marked event lost if it has no record in Kafka, and exits with 5."""
    (lost,) = lose()
    if state == "sent_unmarked":
        with engine.begin() as connection:
            connection.execute(text("UPDATE outbox SET published = false WHERE id = :id"), {"id": lost})
    document = compare()
    assert (document["exit_code"], differences(document)) == (5, {("lost", lost)})
    assert (document["result"]["repairable"], document["result"]["repair_file"]) == (1, None)


def advice(page):
    """Return the command that the output suggests, and the last line of the output."""
    lines = page.splitlines()
    after = next(number for number, line in enumerate(lines) if line.startswith("repair:"))
    payctl, *command = shlex.split(lines[after + 1])
    assert payctl == "payctl"
    return command, lines[-1]


@pytest.mark.usefixtures("published")
def test_the_advised_replay_sends_exactly_the_lost_events(
    invoke, answer, world, lose, kafka, read_all, tmp_path, monkeypatch
):
    """The suggested replay sends each lost event once, even if the command is pasted twice.

    The replay leaves out events that another operator has already replayed.
    """
    monkeypatch.chdir(tmp_path)
    lost = lose(3)
    page = invoke("reconcile", "outbox", **world).stdout
    command, verdict = advice(page)
    assert verdict.startswith("✘")
    assert "3 lost" in verdict
    command, _ = advice(invoke(*command, **world).stdout)
    assert answer("replay", lost[0], "--allow-published", "-y", **world)["counts"]["requeued"] == 1
    for requeued in (2, 0, 0):
        assert answer(*command, "--yes", **world)["counts"]["requeued"] == requeued
        answer("publish-outbox", **world)
    sent = Counter(record.text("eventId") for record in read_all(kafka.bootstrap))
    assert (len(sent), set(sent.values())) == (SENT + 3, {1})
    last = invoke("reconcile", "outbox", **world).stdout.splitlines()
    assert (len(last), last[0][0], invoke("reconcile", "outbox", **world).exit_code) == (1, "✔", 0)


@pytest.mark.usefixtures("published")
def test_the_advised_repair_of_lost_events_passes_the_profile_s_guard(
    invoke, answer, world, lose, tmp_path, monkeypatch
):
    """The command that `reconcile outbox` suggests passes the guard of a protected profile with a low limit."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "payctl.toml"
    values = "".join(f'{name} = "{value}"\n' for name, value in world.items())
    file.write_text(f"[profiles.prod]\n{values}[profiles.prod.guard]\nprotected = true\nmax_affected = 1\n", "utf-8")
    file.chmod(0o600)
    lose(2)
    command, _ = advice(invoke("reconcile", "outbox", "-p", "prod", "--config", str(file)).stdout)
    command, _ = advice(invoke(*command).stdout)
    assert answer(*command, "--yes")["counts"]["requeued"] == 2


@pytest.mark.usefixtures("published")
def test_reconcile_advises_no_replay_with_a_read_only_profile(invoke, answer, world, lose, tmp_path):
    """With a read-only profile, `reconcile outbox` suggests no replay and says that the profile is read-only."""
    file = tmp_path / "payctl.toml"
    values = "".join(f'{name} = "{value}"\n' for name, value in world.items())
    file.write_text(f"[profiles.replica]\n{values}guard.read_only = true\n", "utf-8")
    lose()
    profile = ["-p", "replica", "--config", str(file)]
    page = invoke("reconcile", "outbox", *profile)
    assert ("payctl replay" in page.stdout, "profile replica is read-only" in page.stdout) == (False, True)
    assert answer("reconcile", "outbox", *profile)["result"]["repair"] is None


@pytest.mark.usefixtures("published")
def test_a_repair_plan_leaves_out_an_event_that_was_replayed_meanwhile(lose, engine, answer, world):
    """If an event is replayed after the comparison of `reconcile outbox`, the repair plan leaves the event out."""
    ids = lose(2)
    with transaction(engine, Limits(), commit=False) as connection:
        now = datetime.now(UTC)
        compared = list(created_between(connection, now - timedelta(hours=1), now + timedelta(hours=1), 100))
    lost = [Disagreement(each, Difference.LOST, "", 0, repairable=True) for each in compared if each.id in ids]
    answer("replay", ids[0], "--allow-published", "-y", **world)
    answer("publish-outbox", **world)
    plan = plan_replay(engine, Selector(ids=tuple(ids)), max_retries=5, allow_published=True)
    left = unchanged(plan, OutboxComparison(2, (), 0, complete=True, disagreements=lost))
    assert ({event.row.id for event in plan.events}, [event.row.id for event in left.events]) == (set(ids), ids[1:])


@pytest.mark.usefixtures("published")
def test_reconcile_advises_no_replay_of_a_superseded_event(compare, invoke, world, engine, lose, tmp_path):
    """`reconcile outbox` reports a lost superseded event, but suggests no replay of it.

    Replaying the failure event would release the tickets of a paid order.
    """
    (lost,) = lose(event_type="PAYMENT_FAILED")
    with engine.begin() as connection:
        insert_events(connection, 1, event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.execute(text("UPDATE payments SET status = 'COMPLETED', \"completedAt\" = now()"))
    assert invoke("publish-outbox", **world).exit_code == 0
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert differences(document) == {("lost", lost)}
    assert (document["result"]["repairable"], document["result"]["repair_file"]) == (0, None)
    page = invoke("reconcile", "outbox", **world).stdout
    assert ("repair:" in page, "1 superseded event" in page) == (False, True)


def test_reconcile_shows_ten_differences_and_ends_with_the_verdict(invoke, published, lose, world):
    """`reconcile outbox` shows ten differences, the number of further differences, and the verdict.

    --all shows all differences.
    """
    assert len(published) == SENT
    lost = lose(14)
    short = invoke("reconcile", "outbox", **world)
    assert sum(each in short.stdout for each in lost) == 10
    assert "and 4 more" in short.stdout
    assert short.stdout.splitlines()[-1].startswith("✘")
    every = invoke("reconcile", "outbox", "--all", **world).stdout
    assert sum(each in every for each in lost) == 14
    assert ("PAYMENT_COMPLETED" in short.stdout, "PAYMENT_COMPLETED" in every) == (False, True)


def trim(kafka, _world):
    """Delete all records in the topic, as Kafka's retention does."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    places = [TopicPartition("payment.completed", number, -1) for number in range(3)]
    for future in admin.delete_records(places).values():
        future.result(10)


def recreate(kafka, _world):
    """Delete the topic and create it again."""
    kafka.recreate_topics(["payment.completed"])


def delete(kafka, _world):
    """Delete the topic."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.delete_topics(["payment.completed"], operation_timeout=30).values():
        future.result(30)


def transact(kafka, _world):
    """Write a transaction to Kafka, which leaves an offset without a record in every partition."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "test-reconcile"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(3):
        producer.produce("payment.completed", b"{}", partition=number)
    producer.commit_transaction(30)
    wait_until(lambda: _ends(kafka) >= SENT + 6, what="the markers of the transaction", timeout=10)


def _ends(kafka):
    with RangeReader({"bootstrap.servers": kafka.bootstrap}, "payctl-test", 5) as reader:
        return sum(end for _, end in reader.bounds(reader.places("payment.completed")).values())


NOT_JUDGED = [
    (trim, "too_old", SENT + 1), (recreate, "topic_empty", SENT + 1), (delete, "topic_missing", SENT + 1),
    (transact, "gaps", 1),
]  # fmt: skip


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(("happens", "reason", "events"), NOT_JUDGED, ids=lambda each: getattr(each, "__name__", each))
def test_reconcile_does_not_call_an_event_lost_if_kafka_may_have_deleted_it(
    happens, reason, events, compare, kafka, world, lose, invoke, tmp_path
):
    """If Kafka may have deleted a record, `reconcile outbox` exits with 6 and suggests no replay."""
    lose()
    happens(kafka, world)
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert (document["exit_code"], document["items"]) == (6, [])
    assert (document["counts"]["unjudged"], document["result"]["not_judged"]) == (events, {reason: events})
    assert len(compare("--all")["items"]) == events
    page = invoke("reconcile", "outbox", **world).stdout
    assert page.splitlines()[-1].startswith("!")
    assert "repair:" not in page


def test_records_behind_an_open_transaction_are_not_called_lost(compare, engine, answer, world, kafka):
    """`reconcile outbox` does not judge records behind an open transaction, because consumers cannot read them yet."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "test-open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(3):
        producer.produce("payment.completed", b"{}", partition=number)
    producer.flush(10)
    with engine.begin() as connection:
        insert_events(connection, SENT, age=timedelta(minutes=2))
    assert answer("publish-outbox", **world)["counts"]["published"] == SENT
    document = compare()
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"open_transaction": SENT})
    producer.abort_transaction(30)
    wait_until(lambda: _ends(kafka) >= SENT + 6, what="the markers of the transaction", timeout=10)
    assert compare()["exit_code"] == 0


@pytest.mark.usefixtures("published")
def test_reconcile_finds_events_that_were_sent_before_partitions_were_added(compare, kafka, lose):
    """If partitions were added to a topic, `reconcile outbox` also reads the partition that a key had before."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_partitions([NewPartitions("payment.completed", 12)])["payment.completed"].result(10)
    wait_until(lambda: _partitions(kafka) == 12, what="the new partitions", timeout=10)
    assert compare()["exit_code"] == 0
    lost = lose()
    assert differences(compare()) == {("lost", each) for each in lost}
    trim(kafka, None)
    document = compare()
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"too_old": SENT + 1})


def _partitions(kafka):
    with RangeReader({"bootstrap.servers": kafka.bootstrap}, "payctl-test", 5) as reader:
        return len(reader.places("payment.completed"))


@pytest.fixture
def blind(answer, engine, database_url, mock_kafka):
    """Publish five events to brokers that cannot look up offsets by time. Return the settings for payctl."""
    world = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    with engine.begin() as connection:
        insert_events(connection, SENT, age=timedelta(minutes=2))
    assert answer("publish-outbox", **world)["counts"]["published"] == SENT
    return world


def test_reconcile_reads_all_records_if_brokers_cannot_look_up_by_time(blind, answer, lose):
    """If the brokers cannot look up offsets by time, `reconcile outbox` finds lost events by reading all records."""
    assert answer("reconcile", "outbox", **blind)["exit_code"] == 0
    lost = lose()
    document = answer("reconcile", "outbox", **blind)
    assert (document["exit_code"], differences(document)) == (5, {("lost", each) for each in lost})


@pytest.mark.usefixtures("blind")
def test_reconcile_does_not_judge_events_before_the_last_records(blind, answer, mock_kafka, monkeypatch):
    """If `reconcile outbox` reads only the last records of a partition, it does not judge events that may be older."""
    monkeypatch.setattr(window, "_MOST", 1)
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
    for number in range(12):
        producer.produce("payment.completed", b"{}", partition=number % 3)
    assert producer.flush(10) == 0
    document = answer("reconcile", "outbox", **blind)
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"record_limit": SENT})


def test_reconcile_judges_the_events_of_readable_partitions(blind, answer, mock_kafka, engine):
    """If a partition has no leader, `reconcile outbox` exits with 6 and judges the events in the other partitions."""
    with engine.begin() as connection:
        insert_events(connection, 30)
    assert answer("publish-outbox", **blind)["counts"]["published"] == 30
    with engine.connect() as connection:
        keys = connection.execute(text('SELECT "aggregateId" FROM outbox')).scalars().all()
    there = sum(partition_of(key.encode(), 3) == 1 for key in keys)
    mock_kafka.set_leader("payment.completed", 1, -1)
    document = answer("reconcile", "outbox", **blind)
    assert there
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"unreadable": there})


def test_reconcile_exits_with_4_if_it_can_read_no_partition(blind, answer, mock_kafka):
    """If `reconcile outbox` cannot read any partition, it exits with 4 and the KAFKA_UNAVAILABLE error."""
    for topic in TOPICS.values():
        for number in range(3):
            mock_kafka.set_leader(topic, number, -1)
    document = answer("reconcile", "outbox", **blind)
    assert (document["exit_code"], document["error"]["code"]) == (4, "KAFKA_UNAVAILABLE")


def test_reconcile_does_not_judge_events_behind_its_deadline(blind, invoke, answer, mock_kafka):
    """If the --deadline passes, `reconcile outbox` exits with 10 and says that it did not read all records in time."""
    mock_kafka.set_rtt(50)
    document = answer("reconcile", "outbox", "--deadline", "1ms", **blind)
    assert (document["exit_code"], document["result"]["not_judged"]) == (10, {"deadline": SENT})
    page = invoke("reconcile", "outbox", "--deadline", "1ms", **blind).stdout.splitlines()
    assert page[-1].startswith("!")
    assert "in time" in page[-1]


@pytest.mark.parametrize(
    ("change", "word"),
    [({"value": "{}"}, "value"), ({"key": "another"}, "key"), ({"topic": "payment.failed"}, "topic")],
)
def test_reconcile_reports_a_message_with_another_value_key_or_topic(change, word, compare, published, send):
    """If a message has a wrong value, key or topic, `reconcile outbox` exits with 5 and names the difference.

    `reconcile outbox` suggests no replay, because the right topic also has a correct message for the event.
    """
    event_id, key, value = published[2]
    send(event_id, **{"key": key, "value": value, **change})
    document = compare()
    assert (document["exit_code"], document["result"]["repairable"]) == (5, 0)
    assert ("wrong", event_id) in differences(document)
    assert word in next(item["detail"] for item in document["items"] if item["difference"] == "wrong")


@pytest.mark.usefixtures("published")
def test_reconcile_advises_a_replay_of_an_event_in_a_wrong_topic(compare, lose, send, tmp_path):
    """If an event is only in a wrong topic, `reconcile outbox` suggests a replay that repairs this."""
    (event_id,) = lose()
    send(event_id, "key", "{}", topic="payment.failed")
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert (differences(document), document["result"]["repairable"]) == ({("wrong", event_id)}, 1)


def test_reconcile_reports_a_second_copy_and_exits_with_0(compare, published, send):
    """`reconcile outbox` reports a second copy of a message and exits with 0, but ignores copies that a replay sent."""
    event_id, key, value = published[0]
    send(event_id, key, value, replayRunId="a-run")
    assert compare()["items"] == []
    send(event_id, key, value)
    document = compare()
    assert (document["exit_code"], differences(document)) == (0, {("double", event_id)})


def test_reconcile_reports_an_overtaken_event_as_out_of_order(compare, engine, send):
    """`reconcile outbox` reports an event as out of order if it was sent before an earlier event of its payment."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="published", aggregates=1, age=timedelta(minutes=1))
        earlier, later = connection.execute(
            text('SELECT id, "aggregateId", payload::text FROM outbox ORDER BY "createdAt", id')
        ).all()
    send(*later)
    send(*earlier)
    document = compare()
    assert (document["exit_code"], differences(document)) == (5, {("out_of_order", later[0])})


@pytest.mark.usefixtures("published")
def test_reconcile_compares_only_the_events_of_its_window(compare):
    """`reconcile outbox` compares only the events that were created in its time window."""
    document = compare("--since", "1m")
    assert (document["counts"]["compared"], document["counts"]["other"]) == (0, SENT)


@pytest.mark.parametrize("is_there", [True, False])
def test_reconcile_refuses_an_existing_repair_file_at_once(answer, database_url, tmp_path, is_there):
    """If the repair file already exists, `reconcile outbox` exits with 2 before it reads from Kafka."""
    file = tmp_path / "ids"
    if is_there:
        file.touch()
    world = {"DATABASE_URL": database_url, "KAFKA_BROKERS": "127.0.0.1:1"}
    assert answer("reconcile", "outbox", "--repair-out", str(file), **world)["exit_code"] == (2 if is_there else 4)


def test_reconcile_keeps_only_the_records_of_compared_events(kafka, send):
    """`reconcile outbox` counts all records, but keeps only the records for the compared events in memory."""
    for number in range(10):
        send(f"event-{number}", "payment", "{}")
    told = []
    since = datetime.now(UTC) - timedelta(minutes=5)
    found = read_window(
        {"bootstrap.servers": kafka.bootstrap},
        WindowQuery(["payment.completed"], since, {"event-3"}),
        timedelta(seconds=20),
        on_progress=lambda *numbers: told.append(numbers),
    )
    assert ([copy.event_id for copy in found.copies], found.other, found.complete) == (["event-3"], 9, True)
    assert told[-1] == (10, 10)
