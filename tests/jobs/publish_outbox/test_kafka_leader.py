"""Test a cluster of two brokers. While the second broker is down, some partitions have no leader."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, READ, STAMPED, new_producer
from tests.jobs.publish_outbox.outages import a_loop, drained, published, states, until
from tests.servers.apache_kafka.broker import PROGRAM
from tests.servers.java import properties
from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.sandbox.server import Server, free_port, in_memory

PATIENCE = 3.0
"""The time in seconds after which the producer gives up on a message."""

OF_THE_CLUSTER = (
    "controller.listener.names",
    "controller.quorum.bootstrap.servers",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "broker.session.timeout.ms",
    "broker.heartbeat.interval.ms",
)


def read(path):
    """Return the properties in a properties file."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


class SecondBroker:
    """The second broker in the cluster. While it is down, its partitions have no leader."""

    def __init__(self, kafka):
        self.kafka, home = kafka, kafka.log.parent
        self.server = Server("kafka-2", within=in_memory())
        address = f"PLAINTEXT://127.0.0.1:{free_port()}"
        first = read(home / "server.properties")
        own = {"process.roles": "broker", "node.id": "2", "log.dirs": str(self.server.home / "data")}
        own |= {name: first[name] for name in OF_THE_CLUSTER}
        own |= {"listeners": address, "advertised.listeners": address}
        self.file = self.server.home / "server.properties"
        self.file.write_text(properties(own))
        cluster = read(home / "data" / "meta.properties")["cluster.id"]
        self.java("kafka.tools.StorageTool", "format", "--no-initial-controllers", f"--cluster-id={cluster}", "-c")

    def java(self, *arguments):
        """Run one of Kafka's Java programs with the broker's configuration file, and wait until the program ends."""
        command = PROGRAM.command(*arguments, str(self.file))
        subprocess.run(command, check=True, capture_output=True, cwd=self.server.home)

    def start(self):
        """Start the broker and wait until the cluster has two brokers."""
        self.server.run(PROGRAM.command("kafka.Kafka", str(self.file), options=("-Xmx256m",)))
        self.wait_for(2)

    def kill(self):
        """Kill the broker and wait until the cluster has only one broker."""
        self.server.stop(signal.SIGKILL)
        self.wait_for(1)

    def wait_for(self, brokers):
        """Wait until the cluster has the given number of brokers."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        until(lambda: len(admin.list_topics(timeout=5).brokers) == brokers, within=60)


@pytest.fixture
def second(kafka):
    """Yield a second broker that leads partition 1 of each topic."""
    broker = SecondBroker(kafka)
    broker.start()
    replace_topics(kafka)
    yield broker
    if not broker.server.running:
        broker.start()
    for topic in READ:
        kafka.delete_topics([topic])
    broker.server.close()
    broker.wait_for(1)


def replace_topics(kafka):
    """Recreate each topic, with partition 1 only on the second broker."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for topic in READ:
        kafka.delete_topics([topic])
        placed = NewTopic(topic, 3, replica_assignment=[[1], [2], [1]], config=STAMPED)
        admin.create_topics([placed], operation_timeout=30)[topic].result(30)


def test_a_partition_without_a_leader_holds_back_only_its_payments(kafka_outbox, kafka, second):
    """If a partition has no leader, its payments' events wait in order until a leader returns.

    The wait does not use up a retry.

    Only the first batch waits until its messages time out. Later batches publish the other payments without delay.
    """
    outbox = kafka_outbox
    keys = [f"k{number}" for number in range(30)]
    away = {key for key in keys if partition_of(key.encode(), 3) == 1}
    producer = new_producer(kafka.bootstrap, message_timeout_ms=int(1000 * PATIENCE))
    for key in keys:
        outbox.add(key, FAILED)
    with a_loop(outbox, producer=producer):
        published(outbox, 30)
        second.kill()
        for key in keys:
            outbox.add(key, COMPLETED)
        published(outbox, 60 - len(away))
        waiting = [row for row in outbox.rows() if row.state == "pending"]
        assert {row.key for row in waiting} == away
        assert {(row.retry_count, row.last_error) for row in waiting} == {(0, None)}
        done, healthy = 60 - len(away), next(key for key in keys if key not in away)
        for number in range(1, 6):  # in this time, the publisher probes for the leader twice, which must delay no event
            outbox.add(healthy, COMPLETED)
            added = time.monotonic()
            until(lambda number=number: outbox.states().count("published") >= done + number, within=PATIENCE / 2)
            until(lambda added=added: time.monotonic() - added >= 1)
        second.start()
        drained(outbox)
    producer.close()
    assert states(outbox) == {("published", 0, None)}
    assert outbox.verdict() == GOOD
