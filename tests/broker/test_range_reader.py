"""Test that the Kafka reader reads exact ranges, meets its deadline, and raises a clear error for each cause."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.broker.range_reader import RangeReader
from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.settings import Settings

TOPIC = "payment.completed"
PLACE = (TOPIC, 0)


def config(bootstrap):
    """Return the connection settings for a client that does not log."""
    return {"bootstrap.servers": bootstrap, "log_level": 0}


def send(bootstrap, values, **options):
    """Write values to the first partition. If ``options`` contains a transactional id, use a transaction."""
    producer = Producer({**config(bootstrap), **options})
    if options:
        producer.init_transactions(30)
        producer.begin_transaction()
    for value in values:
        producer.produce(TOPIC, value, partition=0, headers={"id": value})
    if options:
        producer.commit_transaction(30)
    assert producer.flush(30) == 0


@pytest.fixture
def reader(mock_kafka):
    """Yield a range reader on the mock cluster."""
    with RangeReader(config(mock_kafka.bootstrap), "payctl-test", 5) as made:
        yield made


def values(reader, limit=100, timeout=10):
    """Return the values of all records up to the ends of the ranges, or until the timeout."""
    return [record.value for batch in reader.batches(limit, time.monotonic() + timeout) for record in batch]


def test_a_range_is_read_exactly(reader, mock_kafka):
    """The reader starts at a range's first offset and stops before the range's end, regardless of the batch size."""
    send(mock_kafka.bootstrap, [b"0", b"1", b"2", b"3", b"4"])
    reader.start({PLACE: (1, 4)})
    assert reader.unread
    assert values(reader, limit=2) == [b"1", b"2", b"3"]
    assert not reader.unread
    assert reader.positions == {PLACE: 4}


def test_reading_an_empty_range_does_not_wait(reader, mock_kafka):
    """A range with equal start and end has no records, so ``read`` returns at once."""
    send(mock_kafka.bootstrap, [b"0"])
    reader.start({PLACE: (1, 1)})
    assert not reader.unread
    assert reader.read(10, 10) == []


def test_a_range_without_an_end_stays_open(reader, mock_kafka):
    """A range without an end also returns records that arrive later. Each read ends at the timeout."""
    reader.start({PLACE: (0, None)})
    begun = time.monotonic()
    assert reader.read(10, 0.3) == []
    assert 0.2 < time.monotonic() - begun < 5
    send(mock_kafka.bootstrap, [b"later"])
    assert [record.value for record in reader.read(10, 10)] == [b"later"]
    assert reader.unread


def test_the_deadline_ends_a_reading(reader, mock_kafka):
    """If the brokers are down, a read ends at the deadline and the range stays unread."""
    send(mock_kafka.bootstrap, [b"0"])
    mock_kafka.down()
    reader.start({PLACE: (0, 1)})
    begun = time.monotonic()
    assert values(reader, timeout=0.5) == []
    assert time.monotonic() - begun < 3
    assert reader.unread


def test_a_missing_topic_has_no_partitions(reader):
    """For a missing topic, the reader returns no partitions. If the topic is required, the reader raises an error."""
    assert reader.places("payment.unheard") == []
    with pytest.raises(BrokerUnavailableError, match="cannot be read"):
        reader.places("payment.unheard", required=True)


def test_brokers_that_do_not_answer_are_named():
    """If the brokers do not answer, the reader's error names their address."""
    with (
        RangeReader(config("127.0.0.1:1"), "payctl-test", 0.5) as reader,
        pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1 cannot be read"),
    ):
        reader.places(TOPIC)


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("wrong", "words"), [("KAFKA_PASSWORD", "refused the credentials"), ("KAFKA_CA_FILE", "no trusted TLS connection")]
)
def test_a_refused_login_is_a_broker_refused_error(wrong, words, kafka_server):
    """A wrong password or an untrusted authority raises BrokerRefusedError, which does not show the password."""
    values = {"KAFKA_PASSWORD": "not-the-password", "KAFKA_CA_FILE": str(kafka_server.certificates.stranger_ca)}
    settings = Settings.from_env(kafka_server.environment("scram-sha-256") | {wrong: values[wrong]}).kafka
    with (
        RangeReader(connection_config(settings), "payctl-test", 5) as reader,
        pytest.raises(BrokerRefusedError, match=words) as caught,
    ):
        reader.places(TOPIC)
    assert "not-the-password" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.kafka
def test_a_transaction_s_marker_does_not_keep_a_range_open(kafka):
    """A range with a committed transaction is read to its end, even though the range's last offset has no record."""
    send(kafka.bootstrap, [b"0", b"1"], **{"transactional.id": "payctl-test"})
    with RangeReader(config(kafka.bootstrap), "payctl-test", 10) as reader:
        # The coordinator writes the marker after it has confirmed the commit.
        wait_until(lambda: reader.bounds([PLACE])[PLACE] == (0, 3), what="the marker", timeout=10)
        reader.start(reader.bounds([PLACE]))
        assert values(reader) == [b"0", b"1"]
        assert (reader.unread, reader.positions) == (False, {PLACE: 3})


@pytest.mark.kafka
def test_a_follower_continues_at_the_oldest_record_after_retention(kafka):
    """If Kafka's retention deleted the stored offset, a follower continues at the oldest record, not at the end."""
    send(kafka.bootstrap, [b"0", b"1", b"2", b"3"])
    follower = Follower(config(kafka.bootstrap), "payctl-test-retention", [TOPIC])
    follower.open()
    assert follower.read(1)[0].event_id == "0"
    follower.keep()
    admin = AdminClient(config(kafka.bootstrap))
    for future in admin.delete_records([TopicPartition(TOPIC, 0, 3)]).values():
        future.result(10)
    follower.open()
    assert [each.event_id for each in follower.read(10)] == ["3"]
    follower.close()
