"""The producer: give it a wave of messages, get back the ones that were not acknowledged.

Only failures are reported by the client (one callback per message would cost more than the message), so a
message is known to be appended when the queue ran empty and no failure names it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as Report
from confluent_kafka import Producer as Client

from ticketbottle_payctl.broker.faults import fault_of
from ticketbottle_payctl.domain.event import TOPICS, Message
from ticketbottle_payctl.domain.retry import Fault
from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError

_PURGE_PATIENCE = 5.0
_STEP = 0.25
_STOP_PATIENCE = 5.0
_CREDENTIALS = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_REFUSED = {*_CREDENTIALS, KafkaError._SSL}


def _never() -> bool:
    return False


class Failure(NamedTuple):
    """Why a message was not acknowledged. ``reason`` is the broker's or the client's text, without the payload."""

    fault: Fault
    code: str
    reason: str


class Producer:
    """One idempotent producer, made on first use and made anew after a fatal error or a purge."""

    def __init__(self, config: Mapping[str, str | int | bool], *, new_client: Callable[..., Client] = Client) -> None:
        self._config = dict(config)
        self._new_client = new_client
        self._client: Client | None = None
        self._failures: dict[str, Failure] = {}
        self._client_error: KafkaError | None = None

    def probe(self, timeout: float, stopping: Callable[[], bool] = _never) -> dict[str, Failure]:
        """Ask the brokers for our topics, within ``timeout`` seconds; the event types that cannot flow, and why.

        A stop that is asked for meanwhile ends it within a second.

        Raises:
            BrokerUnavailableError: no broker answered.
            BrokerRefusedError: a broker answered and refused us.
        """
        deadline = time.monotonic() + timeout
        stopped = {}
        for event_type, topic in TOPICS.items():
            problem = self._topic_problem(topic, deadline, stopping)
            if problem is not None and fault_of(problem) is Fault.CONFIGURATION:
                stopped[event_type] = _failure(problem)
        return stopped

    def send(
        self, wave: Sequence[Message], timeout: float, stopping: Callable[[], bool] = _never
    ) -> dict[str, Failure]:
        """Send messages of distinct keys and wait; the failed ones by key, empty where every one is appended.

        Never longer than ``timeout`` seconds and a short purge; once a stop is asked for, a few seconds.
        What is unresolved by then has failed, though the broker may still have it: a later duplicate carries
        the same event id.
        """
        deadline = time.monotonic() + timeout
        client = self._connected()
        self._failures = failures = {}
        produce, report = client.produce, self._report
        for topic, key, value, headers in wave:
            try:
                produce(topic, value=value, key=key, headers=headers, on_delivery=report)
            except BufferError:
                self._produce_when_there_is_room(client, Message(topic, key, value, headers), deadline)
            except KafkaException as error:
                failures[key] = _failure(error.args[0])
        self._settle(client, deadline, stopping)
        return failures

    def unavailable(self) -> BrokerUnavailableError | BrokerRefusedError:
        """Why nothing goes through, from what the client said last: refused credentials, or nobody there."""
        error = self._client_error
        servers = self._config["bootstrap.servers"]
        if error is not None and error.code() in _CREDENTIALS:
            message = f"Kafka at {servers} refused the credentials"
            return BrokerRefusedError(message, hint="check KAFKA_SASL_MECHANISM, KAFKA_USERNAME and KAFKA_PASSWORD")
        if error is not None and error.code() == KafkaError._SSL:
            message = f"no trusted TLS connection to Kafka at {servers}: {error.str()}"
            return BrokerRefusedError(message, hint="check KAFKA_SSL and KAFKA_CA_FILE")
        cause = f": {error.str()}" if error is not None else ""
        message = f"Kafka at {servers} is not available{cause}"
        return BrokerUnavailableError(message, hint="check that the brokers are up and reachable, then try again")

    def close(self) -> None:
        """Let the client go. Nothing is in flight between two calls of :meth:`send`, so nothing is lost."""
        client, self._client = self._client, None
        if client is not None:
            client.purge()

    def _connected(self) -> Client:
        if self._client is None:
            self._client_error = None
            self._client = self._new_client({**self._config, "error_cb": self._on_client_error})
        return self._client

    def _on_client_error(self, error: KafkaError) -> None:
        if not self._refused():
            self._client_error = error

    def _report(self, error: KafkaError | None, message: Report) -> None:
        key = message.key()
        if error is not None and key is not None:
            self._failures[key.decode()] = _failure(error)

    def _produce_when_there_is_room(self, client: Client, message: Message, deadline: float) -> None:
        while time.monotonic() < deadline:
            client.poll(0.05)
            try:
                client.produce(
                    message.topic,
                    value=message.value,
                    key=message.key,
                    headers=message.headers,
                    on_delivery=self._report,
                )
            except BufferError:
                continue
            return
        self._failures[message.key] = Failure(Fault.TRANSPORT, "_QUEUE_FULL", "the client's queue stayed full")

    def _settle(self, client: Client, deadline: float, stopping: Callable[[], bool]) -> None:
        """Wait for every delivery, in short steps so that signals are heard; then give up what is left."""
        try:
            while (left := client.flush(_STEP)) and time.monotonic() < deadline:
                if stopping():
                    deadline = min(deadline, time.monotonic() + _STOP_PATIENCE)
                    stopping = _never
        except KafkaException as error:  # a fatal error of idempotence: the next call starts with a new client
            self._client_error = error.args[0]
            left = max(1, len(client))
        if left:
            # After a purge this client would fail its next message too: it is thrown away.
            client.purge()
            client.flush(_PURGE_PATIENCE)
            self.close()

    def _topic_problem(self, topic: str, deadline: float, stopping: Callable[[], bool]) -> KafkaError | None:
        while True:
            try:
                metadata = self._connected().list_topics(topic, timeout=1.0)
                problem: KafkaError | None = metadata.topics[topic].error
                return problem
            except KafkaException as error:
                if stopping() or time.monotonic() >= deadline or self._refused():
                    raise self.unavailable() from error

    def _refused(self) -> bool:
        return self._client_error is not None and self._client_error.code() in _REFUSED


def _failure(error: KafkaError) -> Failure:
    return Failure(fault_of(error), error.name(), error.str())
