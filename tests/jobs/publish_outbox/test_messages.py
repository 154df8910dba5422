"""Test that the topic, key, partition, value and headers of each published message follow the contract."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED, GOOD

PARTITIONS = 3
ODD_KEYS = ("", "a", "ab", "abc", "đơn hàng", "💳" * 7, "x" * 4096, "-", "0", "payment\n1", '"quoted"', "a b")
ODD_VALUES = (
    {"b": 1, "a": [1.10, 1e300, None, True], "đ": "ắ", "escaped": 'quote " back \\ slash / tab \t'},
    {"amount_cents": 10**30, "nested": {"z": {"y": []}}, "": "", "spaces": "  "},
    {"paymentId": "p", "orderCode": "TB_A-1", "cancelledAt": "2026-11-22T03:04:05.678Z"},
)


def murmur2(data: bytes) -> int:
    """Return the hash from Java's ``org.apache.kafka.common.utils.Utils.murmur2`` as an unsigned 32-bit number."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key: bytes) -> int:
    """Return the partition that Java's and kafkajs's producers choose for a key."""
    return (murmur2(key) & 0x7FFFFFFF) % PARTITIONS


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_the_reference_hash_equals_java_s(text, expected):
    """The reference hash in these tests returns the values from Kafka's own UtilsTest."""
    assert murmur2(text) == expected % 2**32


def fill(outbox):
    """Insert rows of every kind that payctl can publish."""
    outbox.insert(40)
    outbox.insert(20, event_type=FAILED, aggregates=7, payload_bytes=2000)
    outbox.insert(20, event_type=CANCELLED, aggregate_type="Payment")
    for number, key in enumerate(ODD_KEYS):
        outbox.add(key, (COMPLETED, FAILED, CANCELLED)[number % 3], payload=ODD_VALUES[number % len(ODD_VALUES)])
    traced = outbox.add("traced")
    outbox.execute(
        "INSERT INTO payctl.event_context VALUES (%(id)s, 'corr-đ', '00-4bf9-00f0-01', 'replay-7')", id=traced
    )
    partly = outbox.add("partly traced")
    outbox.execute("INSERT INTO payctl.event_context VALUES (%(id)s, NULL, '00-4bf9-00f0-01', '')", id=partly)


def assert_every_byte_is_as_agreed(outbox):
    """Publish rows of every kind, and assert that the messages follow the contract."""
    fill(outbox)
    report = outbox.publish()
    assert (report.stopped_because, report.counts.published) == ("empty", len(outbox.rows()))
    messages = outbox.messages()
    assert outbox.verdict() == GOOD
    assert {m.topic for m in messages} == {"payment.completed", "payment.failed", "payment.cancelled"}
    assert [m.partition for m in messages] == [partition_of(m.key) for m in messages]


def test_messages_in_the_mock_cluster_follow_the_contract(outbox):
    """In the mock cluster, each message's topic, key, partition, value and headers follow the contract."""
    assert_every_byte_is_as_agreed(outbox)


def test_messages_in_apache_kafka_follow_the_contract(kafka_outbox):
    """In Apache Kafka, each message's topic, key, partition, value and headers follow the contract."""
    assert_every_byte_is_as_agreed(kafka_outbox)


def test_correlation_id_trace_and_replay_run_become_headers(outbox):
    """A message has headers for the correlation id, traceparent and replay run, but no header for an unknown value."""
    fill(outbox)
    outbox.publish()
    names = {m.key.decode(): [name for name, _ in m.headers] for m in outbox.messages()}
    always = ["id", "eventId", "eventType", "aggregateType", "eventVersion", "source"]
    assert names["traced"] == [*always, "correlationId", "traceparent", "replayRunId"]
    assert names["partly traced"] == [*always, "traceparent"]
    assert names["đơn hàng"] == always


def test_the_time_of_a_message_is_the_time_of_publishing(outbox):
    """A message's timestamp is its publishing time, so retention does not delete an old event before it is read."""
    outbox.insert(1, age=timedelta(days=400))
    before = outbox.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000")[0][0]
    outbox.publish()
    assert outbox.messages()[0].timestamp >= float(before) - 1000
