"""Create topics and read records, both in the mock cluster and in Apache Kafka."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ticketbottle_payctl.broker.range_reader import RangeReader, Received
from ticketbottle_payctl.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_QUIET: Final[dict[str, str | int | bool]] = {"log_level": 0}
_BATCH: Final = 10_000


def create_topics(
    bootstrap: str,
    names: Iterable[str],
    *,
    partitions: int = 3,
    config: Mapping[str, str] | None = None,
    client: Mapping[str, str] | None = None,
) -> None:
    """Create topics with one replica. Return when the broker has confirmed every topic.

    Raises:
        KafkaException: a topic already exists, or the broker refused to create a topic.
    """
    admin = AdminClient({**_QUIET, "bootstrap.servers": bootstrap, **(client or {})})
    topics = [NewTopic(name, partitions, 1, config=dict(config or {})) for name in names]
    for future in admin.create_topics(topics, operation_timeout=30).values():
        future.result(30)


def read_all(
    bootstrap: str, topics: Iterable[str], *, timeout: float = 15.0, client: Mapping[str, str] | None = None
) -> list[Received]:
    """Return all records that are in ``topics`` now, sorted by partition and offset.

    Raises:
        UnavailableError: not all records could be read within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    connection = {**_QUIET, "bootstrap.servers": bootstrap, **(client or {})}
    with RangeReader(connection, "payctl-sandbox", timeout) as reader:
        reader.start(reader.bounds([place for topic in topics for place in reader.places(topic)]))
        records = [record for batch in reader.batches(_BATCH, deadline) for record in batch]
        if reader.unread:
            message = f"read {len(records)} records, but did not reach the end of the topics within {timeout:g} s"
            raise UnavailableError(message)
    return sorted(records, key=lambda record: (record.place, record.offset))
