"""What the brokers say of the topics payctl writes to."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import BrokerUnavailableError
from ticketbottle_payctl.settings import KafkaSettings

_STEP = 1.0


class Topic(NamedTuple):
    """A topic as its cluster describes it. ``problem`` is the brokers' word where it cannot be used.

    ``replicas`` is the smallest number over its partitions; ``leaderless`` and ``lagging`` count partitions without a
    leader, and with replicas that are behind.
    """

    name: str
    partitions: int
    replicas: int
    leaderless: int
    lagging: int
    problem: str | None


class Cluster(NamedTuple):
    """How many brokers answered for, and the topics."""

    brokers: int
    topics: list[Topic]


def describe(settings: KafkaSettings, timeout: float) -> Cluster:
    """Ask for each topic of :data:`TOPICS`, within ``timeout`` seconds each.

    Raises:
        BrokerUnavailableError: no broker answered.
        ConfigError: a mechanism that needs an optional package which is not installed.
    """
    client = AdminClient(connection_config(settings))
    topics = []
    brokers = 0
    for name in dict.fromkeys(TOPICS.values()):
        metadata = _metadata(client, name, settings, time.monotonic() + timeout)
        brokers = len(metadata.brokers)
        topics.append(_topic(name, metadata.topics[name]))
    return Cluster(brokers, topics)


def _metadata(client: AdminClient, name: str, settings: KafkaSettings, deadline: float) -> Any:  # noqa: ANN401 - not exported
    while True:
        client.poll(0)  # a token is fetched by a callback, and only a poll calls one
        try:
            return client.list_topics(name, timeout=_STEP)
        except KafkaException as error:
            if time.monotonic() < deadline:
                continue
            message = f"Kafka at {settings.brokers} is not available: {error.args[0].str()}"
            raise BrokerUnavailableError(message, hint="check that the brokers are up and reachable") from error


def _topic(name: str, metadata: object) -> Topic:
    problem: KafkaError | None = getattr(metadata, "error", None)
    partitions = list(getattr(metadata, "partitions", {}).values())
    return Topic(
        name,
        partitions=len(partitions),
        replicas=min((len(one.replicas) for one in partitions), default=0),
        leaderless=sum(one.leader < 0 for one in partitions),
        lagging=sum(len(one.isrs) < len(one.replicas) for one in partitions),
        problem=problem.str() if problem is not None else None,
    )
