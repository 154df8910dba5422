"""Test that `payctl show` searches the right partitions for an event's record and knows when the search is complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer

from ticketbottle_payctl.broker.partition import partition_of, possible_partitions
from ticketbottle_payctl.broker.search import SearchQuery, find_records

TOPIC = "payment.completed"
KEY = next(key for key in map(str, range(100)) if partition_of(key.encode(), 3) != partition_of(key.encode(), 2))
HOME, BEFORE = partition_of(KEY.encode(), 3), partition_of(KEY.encode(), 2)
PATIENCE = timedelta(seconds=10)


@pytest.fixture
def send(mock_kafka):
    """Return a function that writes records of an event to a partition."""

    def put(count, event_id, partition):
        producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
        for _ in range(count):
            producer.produce(TOPIC, b"{}", KEY, partition=partition, headers={"eventId": event_id})
        assert producer.flush(10) == 0

    return put


@pytest.fixture
def search(mock_kafka):
    """Return a function that searches for the records of an event that has just been published."""

    def find(patience=PATIENCE):
        now = datetime.now(UTC)
        query = SearchQuery(TOPIC, KEY, "wanted", now - timedelta(minutes=5), now + timedelta(minutes=5))
        return find_records({"bootstrap.servers": mock_kafka.bootstrap}, query, patience)

    return find


def test_the_search_reads_all_records_if_brokers_cannot_look_up_by_time(send, search):
    """If the brokers cannot look up offsets by time, as in the mock cluster, the search reads all records.

    The search then finds old records too.
    """
    send(1, "wanted", HOME)
    send(3000, "another", HOME)
    found = search()
    assert ([record.offset for record in found.records], found.complete) == ([0], True)


def test_a_record_that_was_sent_before_partitions_were_added_is_found(send, search):
    """The search also reads the partition to which the key was mapped before partitions were added to the topic."""
    send(1, "wanted", BEFORE)
    found = search()
    assert ([record.partition for record in found.records], found.partition, found.complete) == ([BEFORE], HOME, True)


def test_the_search_is_complete_if_it_has_read_every_possible_partition(send, search):
    """The search is complete when it has read all records of every partition that can contain the key's records."""
    send(10, "another", HOME)
    found = search()
    assert (found.records, found.complete) == ((), True)


@pytest.mark.parametrize("number", possible_partitions(KEY.encode(), 3))
def test_a_partition_that_cannot_be_read_leaves_the_search_incomplete(search, mock_kafka, number):
    """The search is incomplete if a partition that might contain the record cannot be read."""
    mock_kafka.set_leader(TOPIC, number, -1)
    assert not search().complete
