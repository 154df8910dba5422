"""Provide PostgreSQL with logical replication, and Kafka Connect with the configuration that payctl prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2.extras import LogicalReplicationConnection
from sqlalchemy import Engine

from tests.servers.apache_kafka import ApacheKafka
from tests.servers.kafka_connect import KafkaConnect
from ticketbottle_payctl.broker.config import connection_config, producer_config
from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.broker.range_reader import RangeReader, Received
from ticketbottle_payctl.jobs.cdc.config import CdcConfig, as_properties, cdc_config
from ticketbottle_payctl.jobs.cdc.cut_back import cdc_cut_back
from ticketbottle_payctl.jobs.cdc.cut_over import CutOverReport, cdc_cut_over
from ticketbottle_payctl.jobs.cdc.mark import MarkReport, cdc_mark
from ticketbottle_payctl.sandbox.kafka_messages import read_all
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings, KafkaSettings
from ticketbottle_payctl.store.outbox.debezium_names import (
    ALL_TOPICS,
    HEARTBEATS,
    MARKING_GROUP,
    PUBLICATION,
    ROLE,
    SLOT,
    UNROUTABLE,
)

PASSWORD = "canary-of-the-connector"  # pragma: allowlist secret
PUBLISHER = "payctl_publisher"
MAX_RETRIES = 5
PROVIDER = "org.apache.kafka.common.config.provider.FileConfigProvider"


@dataclass(frozen=True)
class Scene:
    """An outbox and a Kafka broker, with a method for each `payctl cdc` command."""

    engine: Engine
    kafka: ApacheKafka
    producer: Producer
    follower: Follower
    config: CdcConfig

    def connect(self, changes: Mapping[str, str] | None = None) -> KafkaConnect:
        """Return a Kafka Connect worker that uses the printed properties. Use the worker as a context manager."""
        worker = {
            "config.providers": "file",
            "config.providers.file.class": PROVIDER,
            # The worker's own converters differ, because the connector must not depend on them.
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        }
        printed = read_properties(as_properties(self.config.connector))
        return KafkaConnect(self.kafka.bootstrap, {**printed, **(changes or {})}, worker=worker)

    def cut_over(self, **options) -> CutOverReport:
        """Hand the outbox over to Debezium."""
        options = {"max_retries": MAX_RETRIES, "shards": 1, **options}
        return cdc_cut_over(self.engine, self.producer, self.follower, **options)

    def mark(self, **options) -> MarkReport:
        """Mark as published the events that Debezium has sent."""
        return cdc_mark(self.engine, self.follower, MAX_RETRIES, **options)

    def cut_back(self, **options) -> MarkReport:
        """Take the outbox back from Debezium."""
        return cdc_cut_back(self.engine, self.follower, MAX_RETRIES, **options)

    def messages(self) -> list[Received]:
        """Return all messages in the event topics."""
        return read_all(self.kafka.bootstrap, ALL_TOPICS)

    def wait_for(self, count: int) -> None:
        """Wait until Kafka has this many messages."""
        with RangeReader(connection_config(KafkaSettings(self.kafka.bootstrap)), "tests", 15) as reader:
            places = [place for topic in ALL_TOPICS for place in reader.places(topic)]

            def has_them() -> bool:
                return sum(end - start for start, end in reader.bounds(places).values()) >= count

            wait_until(has_them, what=f"{count} messages", timeout=40, pause=0.1)

    def query(self, sql: str, *parameters: object):
        """Run a statement and commit. Return the first value of each row."""
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(sql, parameters)
            return list(result.scalars()) if result.returns_rows else []

    def slots(self, condition: str = "true") -> list[str]:
        """Return the names of replication slots that match an SQL condition."""
        return self.query(f"SELECT slot_name FROM pg_replication_slots WHERE {condition}")  # noqa: S608

    def wait_until_the_connector_is_gone(self) -> None:
        """Wait until PostgreSQL has noticed that the connector is disconnected."""
        wait_until(lambda: not self.slots("active"), what="the connector is gone", timeout=20)


@pytest.fixture(scope="module")
def logical(postgres):
    """Yield this worker's PostgreSQL server with ``wal_level`` set to logical, as Debezium needs, for one test file."""
    postgres.restart(settings={"wal_level": "logical"})
    yield postgres
    postgres.restart(settings={"wal_level": "replica"})


@pytest.fixture
def config(logical, database_url, tmp_path):  # noqa: ARG001 - restarts the server that the database is in
    """Return the output of ``payctl cdc config`` for the test's database.

    Write the password to the file that the configuration names.
    """
    secrets = tmp_path / "cdc.properties"
    secrets.write_text(f"password={PASSWORD}\n")
    return cdc_config(DatabaseSettings(Secret(database_url)), password=f"${{file:{secrets}:password}}")


@pytest.fixture
def scene(config, engine, kafka):
    """Yield a scene with the roles and topics from ``payctl cdc config``.

    Remove the roles and topics after the test.
    """
    set_up_roles(engine, config)
    kafka.recreate_topics((UNROUTABLE, HEARTBEATS))
    settings = KafkaSettings(kafka.bootstrap)
    producer = Producer(producer_config(settings))
    follower = Follower(connection_config(settings), MARKING_GROUP, ALL_TOPICS)
    made = Scene(engine, kafka, producer, follower, config)
    yield made
    made.wait_until_the_connector_is_gone()
    made.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    made.query("; ".join(f"DROP OWNED BY {role}; DROP ROLE {role}" for role in (ROLE, PUBLISHER)))
    producer.close()
    follower.close()


def set_up_roles(engine: Engine, config: CdcConfig) -> None:
    """Run the publisher's grants from database-roles.md, and then the printed SQL."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "database-roles.md"
    statements = re.findall(rf"^(?:GRANT [^;]*) TO [^;]*{PUBLISHER}[^;]*;", page.read_text("utf-8"), re.MULTILINE)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {PUBLISHER}")
        for statement in statements:
            connection.exec_driver_sql(re.sub(r"TO [^;]*;", f"TO {PUBLISHER};", statement))
        connection.exec_driver_sql(config.sql)
        connection.exec_driver_sql(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")


@pytest.fixture
def own_url(scene, database_url):  # noqa: ARG001 - the fixture scene creates the role
    """Return the database URL for the role that the printed SQL creates."""
    parts = urlsplit(database_url)
    return parts._replace(netloc=f"{ROLE}:{PASSWORD}@{parts.hostname}:{parts.port}").geturl()


@pytest.fixture
def properties() -> Callable[[str], dict[str, str]]:
    """Return a function that reads a Java properties file as Java does."""
    return read_properties


def read_properties(content: str) -> dict[str, str]:
    """Read a Java properties file as Java does."""
    lines = [line for line in content.splitlines() if line and not line.startswith("#")]
    return {name: value.replace("\\\\", "\\") for name, value in (line.split("=", 1) for line in lines)}


@pytest.fixture
def slot(logical, engine, database_url):  # noqa: ARG001 - restarts the server that the database is in
    """Create Debezium's replication slot. Yield a function that connects a reader to the slot if ``active`` is true."""
    opened = []
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE outbox")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")

    def run(*, active):
        if active:
            opened.append(psycopg2.connect(database_url, connection_factory=LogicalReplicationConnection))
            options = {"proto_version": "1", "publication_names": PUBLICATION}
            opened[0].cursor().start_replication(slot_name=SLOT, options=options)

    yield run
    for each in opened:
        each.close()
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        wait_until(lambda: drops(cursor), what="the slot is dropped", timeout=20)


def drops(cursor):
    """Drop the slot if no reader is connected to it. Return the number of dropped slots."""
    cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
    return cursor.rowcount
