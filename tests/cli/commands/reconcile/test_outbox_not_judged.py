"""Test that ``payctl reconcile outbox`` does not judge events for which it cannot see all the Kafka records."""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from sqlalchemy import text

from tests.cli.commands.reconcile.conftest import SENT, differences
from ticketbottle_payctl.broker import window
from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.broker.range_reader import RangeReader
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres


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
    kafka.delete_topics(["payment.completed"])


def transact(kafka, _world):
    """Write a transaction to Kafka to leave an offset without a record in every partition."""
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
    """If Kafka may have deleted a record, `reconcile outbox` exits with 6 and does not suggest a replay."""
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
    """If a topic has new partitions, `reconcile outbox` also reads the partition that a key was mapped to before."""
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
    """`reconcile outbox` does not judge events that may be older than the records that it reads."""
    monkeypatch.setattr(window, "_MOST", 1)
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
    for number in range(12):
        producer.produce("payment.completed", b"{}", partition=number % 3)
    assert producer.flush(10) == 0
    document = answer("reconcile", "outbox", **blind)
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"record_limit": SENT})


def test_reconcile_judges_the_events_of_readable_partitions(blind, answer, mock_kafka, engine):
    """If a partition has no leader, `reconcile outbox` exits with 6 and judges only the other partitions' events."""
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
