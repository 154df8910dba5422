"""Read which events lie in Kafka, from where the last reading ended.

The place is kept in Kafka as a consumer group's offsets, without joining the group: two readers at once do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError, ConfigError, PayctlError

_TIMEOUT = 10.0
_REFUSED = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}
_NOT_ALLOWED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}


class Seen(NamedTuple):
    """An event in Kafka: its id, the topic, and the message's timestamp (UTC)."""

    event_id: str
    topic: str
    at: datetime


class Follower:
    """Reads ``topics`` on behalf of ``group``. Connects on first use.

    Every method raises BrokerUnavailableError where no broker answers, BrokerRefusedError where one refuses us, and
    ConfigError where the group or a topic may not be read.
    """

    def __init__(self, config: Mapping[str, Any], group: str, topics: Sequence[str]) -> None:
        own = {"group.id": group, "enable.auto.commit": False, "fetch.wait.max.ms": 50, "error_cb": self._on_error}
        self._config = {**config, **own}
        self._topics = topics
        self._client: Consumer | None = None
        self._error: KafkaError | None = None
        self._ends: dict[tuple[str, int], int] = {}

    def begin_at_end(self) -> None:
        """Forget what lies there now: the next reading begins with what comes after this."""
        try:
            client = self._connected()
            places = [TopicPartition(*place, end) for place, (_, end) in self._find_ends().items()]
            if places:
                client.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise self._translated(error) from error

    def open(self) -> None:
        """Begin where the last reading was kept, or at the oldest message; read to what is the end at this moment."""
        try:
            client = self._connected()
            client.unassign()  # a fetch under way would hold up each question for an end
            self._ends = {place: end for place, (oldest, end) in self._find_ends().items() if end > oldest}
            kept = client.committed([TopicPartition(*place) for place in self._ends], timeout=_TIMEOUT)
            for place in kept:
                if place.offset < 0:
                    place.offset = OFFSET_BEGINNING
                elif place.offset >= self._ends[place.topic, place.partition]:
                    del self._ends[place.topic, place.partition]
            client.assign([place for place in kept if (place.topic, place.partition) in self._ends])
        except KafkaException as error:
            raise self._translated(error) from error

    def read(self, limit: int) -> list[Seen]:
        """The next events, in no order of importance; none where the end is reached. Never much longer than 10 s."""
        deadline = time.monotonic() + _TIMEOUT
        seen: list[Seen] = []
        try:
            while self._ends and len(seen) < limit:
                messages = self._connected().consume(limit - len(seen), 0.2)
                seen += [found for found in map(self._note, messages) if found is not None]
                if not messages and time.monotonic() >= deadline:
                    raise self._translated(None)
        except KafkaException as error:
            raise self._translated(error) from error
        return seen

    def keep(self) -> None:
        """Remember the place; to be called when what was read is safe."""
        try:
            client = self._connected()
            places = [place for place in client.position(client.assignment()) if place.offset >= 0]
            if places:
                client.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise self._translated(error) from error

    def close(self) -> None:
        """Let the client go."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Consumer:
        if self._client is None:
            self._client = Consumer(self._config)
        return self._client

    def _on_error(self, error: KafkaError) -> None:
        if self._error is None or self._error.code() not in _REFUSED:
            self._error = error

    def _find_ends(self) -> dict[tuple[str, int], tuple[int, int]]:
        """The oldest and the next offset of each partition. A topic that is missing has none."""
        client = self._connected()
        found = {}
        for topic in self._topics:
            description = client.list_topics(topic, timeout=_TIMEOUT).topics[topic]
            if description.error is not None and description.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(description.error)
            for partition in description.partitions:
                place = TopicPartition(topic, partition)
                found[topic, partition] = client.get_watermark_offsets(place, timeout=_TIMEOUT)
        return found

    def _note(self, message: Message) -> Seen | None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
        if offset + 1 >= self._ends.get((topic, partition), 0):
            self._ends.pop((topic, partition), None)
        event_id = dict(message.headers() or []).get("id")
        if not isinstance(event_id, bytes):
            return None
        at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        return Seen(event_id.decode(errors="replace"), topic, at)

    def _translated(self, error: KafkaException | None) -> PayctlError:
        if self._client is not None:
            self._client.poll(0)
        servers = self._config["bootstrap.servers"]
        if self._error is not None and self._error.code() in _REFUSED:
            message = f"Kafka at {servers} refused us: {self._error.str()}"
            return BrokerRefusedError(message, hint="check KAFKA_SSL, KAFKA_CA_FILE and the credentials")
        if error is not None and error.args[0].code() in _NOT_ALLOWED:
            message = f"Kafka does not let us read: {error.args[0].str()}"
            return ConfigError(message, hint=f"allow the user to read the topics as group {self._config['group.id']}")
        cause = self._error or (error.args[0] if error else None)
        message = f"Kafka at {servers} is not available" + (f": {cause.str()}" if cause is not None else "")
        return BrokerUnavailableError(message, hint="check that the brokers are up, then try again")
