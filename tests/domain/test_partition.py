from __future__ import annotations

import pytest
from confluent_kafka import Producer

from ticketbottle_payctl.broker.partition import partition_of

# From the tests of Kafka's own Java client, org.apache.kafka.common.utils.UtilsTest.testMurmur2.
JAVA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize(("key", "hashed"), JAVA.items())
def test_the_hash_is_java_s(key, hashed):
    """Modulo 2^31 the partition is the hash itself, its sign bit cleared."""
    assert partition_of(key.encode(), 2**31) == hashed & 0x7FFFFFFF


def test_librdkafka_sends_where_it_says(mock_kafka, read_all):
    """The producer's own partitioner and ours agree on every key, also on those beyond ASCII."""
    client = Producer({"bootstrap.servers": mock_kafka.bootstrap, "partitioner": "murmur2_random"})
    for number in range(200):
        client.produce("payment.completed", key=f"đơn-{number}-{'x' * (number % 7)}", value="{}")
    client.flush(10)
    received = read_all(mock_kafka.bootstrap, ("payment.completed",))
    assert len(received) == 200
    assert all(partition_of(message.key, 3) == message.partition for message in received)
