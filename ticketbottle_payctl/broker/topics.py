"""Read the brokers' descriptions of the topics that payctl writes to."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.broker.unreachable import unreachable
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.settings import KafkaSettings

_STEP = 1.0


class Topic(NamedTuple):
    """A topic as the brokers describe it. If the topic cannot be used, ``problem`` is the brokers' error text.

    ``replicas`` is the replica count of the partition with the fewest replicas. ``leaderless`` counts partitions
    without a leader, and ``lagging`` counts partitions with a replica that is not in sync.
    """

    name: str
    partitions: int
    replicas: int
    leaderless: int
    lagging: int
    problem: str | None


class Cluster(NamedTuple):
    """The number of brokers in the cluster, and the topics."""

    brokers: int
    topics: list[Topic]


def describe(settings: KafkaSettings, timeout: float) -> Cluster:
    """Ask the brokers to describe each topic in :data:`TOPICS`. Each request takes at most about ``timeout`` seconds.

    Raises:
        BrokerUnavailableError: no broker answered.
        ConfigError: the login mechanism needs a package that is not installed.
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
        client.poll(0)  # only a poll runs the callback that fetches the token
        try:
            return client.list_topics(name, timeout=_STEP)
        except KafkaException as error:
            if time.monotonic() < deadline:
                continue
            raise unreachable(settings.brokers, error.args[0]) from error


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
