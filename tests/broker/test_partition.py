"""Test that payctl computes a key's partition as Java's client and librdkafka do."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from ticketbottle_payctl.broker.partition import partition_of

# The hashes are from Kafka's Java client: org.apache.kafka.common.utils.UtilsTest.testMurmur2.
JAVA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize(("key", "hashed"), JAVA.items())
def test_the_partition_hash_equals_java_s_murmur2(key, hashed):
    """The partition hash equals Java's murmur2.

    With 2^31 partitions, the partition number is the hash without its sign bit.
    """
    assert partition_of(key.encode(), 2**31) == hashed & 0x7FFFFFFF


def test_librdkafka_chooses_the_same_partition(mock_kafka, read_all):
    """`partition_of` agrees with librdkafka's partitioner for every key, including non-ASCII keys."""
    client = Producer({"bootstrap.servers": mock_kafka.bootstrap, "partitioner": "murmur2_random"})
    for number in range(200):
        client.produce("payment.completed", key=f"đơn-{number}-{'x' * (number % 7)}", value="{}")
    client.flush(10)
    received = read_all(mock_kafka.bootstrap, ("payment.completed",))
    assert len(received) == 200
    assert all(partition_of(message.key, 3) == message.partition for message in received)
