"""Send messages to Kafka, and return the failures.

The client reports each message. When the client's queue is empty, every message without a failure has been stored at an
offset that the broker has named.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as Report
from confluent_kafka import Producer as Client

from ticketbottle_payctl.broker.faults import fault_of
from ticketbottle_payctl.broker.leaders import Leaders
from ticketbottle_payctl.broker.unreachable import is_refusal, unreachable
from ticketbottle_payctl.domain.event import TOPICS, Message
from ticketbottle_payctl.domain.retry import Fault
from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError, ConfigError

_PURGE_PATIENCE = 5.0
_STEP = 0.25
_STOP_PATIENCE = 5.0
_MOST_NEW_CLIENTS = 2

# Any call that runs the client's callbacks can raise a fatal error of the idempotent producer. If one of our callbacks
# is running, the interpreter wraps the error in a SystemError.
_FATAL = (KafkaException, SystemError)

# librdkafka logs a fatal error even with log_level 0.
_LOGGER = logging.getLogger(__name__)


def _never() -> bool:
    return False


class DeliveryFailure(NamedTuple):
    """The failure to deliver one message. ``reason`` is the broker's or the client's error text without the payload."""

    fault: Fault
    code: str
    reason: str


class _Patience:
    """The time left for a wave. A stop request shortens it to 5 seconds, and a lost claim to zero."""

    def __init__(self, timeout: float, stopping: Callable[[], bool], lost: Callable[[], bool]) -> None:
        self._deadline = time.monotonic() + timeout
        self._stopping, self._lost = stopping, lost

    def is_over(self) -> bool:
        if self._stopping():
            self._deadline = min(self._deadline, time.monotonic() + _STOP_PATIENCE)
            self._stopping = _never
        return time.monotonic() >= self._deadline or self._lost()


_QUEUE_FULL = DeliveryFailure(Fault.TRANSPORT, "_QUEUE_FULL", "the client's queue stayed full")
_LOST = DeliveryFailure(Fault.TRANSPORT, "CLAIM_LOST", "the claim was lost, so another publisher may send the event")
_NO_OFFSET = DeliveryFailure(Fault.TRANSPORT, "NO_OFFSET", "the broker took the message for one that it already has")
_UNKNOWN = DeliveryFailure(Fault.TRANSPORT, "_UNKNOWN", "the client was closed before it reported the delivery")


class Producer:
    """An idempotent producer, which connects on first use, and reconnects after a fatal error or a purge."""

    def __init__(self, config: Mapping[str, Any], *, new_client: Callable[..., Client] = Client) -> None:
        self._config = dict(config)
        self.leaders = Leaders()
        self._new_client = new_client
        self._client: Client | None = None
        self._failures: dict[str, DeliveryFailure] = {}
        self._client_error: KafkaError | None = None
        self._stopped: set[str] = set()

    def probe(self, timeout: float, stopping: Callable[[], bool] = _never) -> dict[str, DeliveryFailure]:
        """Ask the brokers for the state of payctl's topics.

        Return the event types that cannot be sent, each with the cause.

        All requests together take at most ``timeout`` seconds, or a few seconds after a stop request. A request's
        timeout is doubled until the brokers answer. Later requests keep this timeout. Afterwards ``leaders`` contains
        the partitions without a leader.

        If an unusable topic has become usable, the client is replaced. The old client would refuse messages to this
        topic for five more seconds.

        Raises:
            BrokerUnavailableError: no broker answered.
            BrokerRefusedError: a broker refused the credentials or the TLS connection.
        """
        deadline = time.monotonic() + timeout
        stopped = {}
        patience = _STEP
        for event_type, topic in TOPICS.items():
            problem, patience = self._topic_problem(topic, patience, deadline, stopping)
            if problem is not None and fault_of(problem) is Fault.CONFIGURATION:
                stopped[event_type] = _failure(problem)
        if self._stopped - stopped.keys():
            self.close()
        self._stopped = set(stopped)
        return stopped

    def send(
        self,
        wave: Sequence[Message],
        timeout: float,
        stopping: Callable[[], bool] = _never,
        lost: Callable[[], bool] = _never,
    ) -> dict[str, DeliveryFailure]:
        """Send messages with distinct keys and wait for the deliveries. Return the failures by key.

        If every message was acknowledged, the result is empty. The call takes at most ``timeout`` seconds and a short
        purge, or a few seconds after a stop request. When ``lost`` returns True, the wave's claim is lost. Then no more
        messages are sent, and queued messages are dropped. A message without a result when the call ends counts as
        failed. If a broker received it nevertheless, the retry creates a duplicate with the same event id.
        """
        if lost():
            return dict.fromkeys((message.key for message in wave), _LOST)
        patience = _Patience(timeout, stopping, lost)
        failures, died = self._send_once(wave, patience)
        for _ in range(_MOST_NEW_CLIENTS):
            if not died or stopping() or patience.is_over():
                break
            again = [message for message in wave if _may_pass(failures.get(message.key))]
            failures = {key: failure for key, failure in failures.items() if not _may_pass(failure)}
            new_failures, died = self._send_once(again, patience)
            failures |= new_failures
        return failures

    def unavailable(self) -> BrokerUnavailableError | BrokerRefusedError:
        """Return an error that says why messages cannot be sent. The reason comes from the client's last report."""
        return unreachable(self._config["bootstrap.servers"], self._client_error)

    def close(self) -> None:
        """Close the client. Messages cannot be lost, because none are in flight between two calls to :meth:`send`."""
        client, self._client = self._client, None
        if client is not None:
            client.purge()

    def _connected(self) -> Client:
        if self._client is None:
            self._client_error = None
            try:
                self._client = self._new_client({**self._config, "error_cb": self._on_client_error}, logger=_LOGGER)
            except KafkaException as error:
                message = f"the Kafka client does not accept its settings: {error.args[0].str()}"
                raise ConfigError(message, hint="check the KAFKA_* variables") from error
        return self._client

    def _on_client_error(self, error: KafkaError) -> None:
        """Store the most specific error. The error "All brokers are down" does not replace an earlier error."""
        if self._refused() or (self._client_error is not None and error.code() == KafkaError._ALL_BROKERS_DOWN):
            return
        self._client_error = error

    def _send_once(self, wave: Sequence[Message], patience: _Patience) -> tuple[dict[str, DeliveryFailure], bool]:
        """Send the wave. Return the failures, and whether the client hit a fatal error."""
        failures: dict[str, DeliveryFailure] = {}
        self._failures = failures
        client = self._healthy()
        died = False
        try:
            self._produce(client, wave, patience)
            # No message has left the client yet. If the claim is lost now, another publisher may have the events.
            sent = not patience.is_over() and self._flushed(client, patience)
            known = sent or self._give_up(client)
        except _FATAL as error:
            self._client_error = _kafka_error(error)
            died, known = True, False  # a delivery report may have been lost with the client
            with suppress(*_FATAL):
                self._give_up(client)
        if not known:
            for message in wave:
                failures.setdefault(message.key, _UNKNOWN)
        return failures, died

    def _healthy(self) -> Client:
        """Return the client. If the client has hit a fatal error, replace it first."""
        client = self._connected()
        try:
            client.poll(0)
        except _FATAL:
            self.close()
            client = self._connected()
        return client

    def _produce(self, client: Client, wave: Sequence[Message], patience: _Patience) -> None:
        produce, report = client.produce, self._report
        for topic, key, value, headers in wave:
            while True:
                try:
                    produce(topic, value=value, key=key, headers=headers, on_delivery=report)
                except BufferError:
                    if not patience.is_over():
                        client.flush(0.05)  # sends queued messages
                        continue
                    self._failures[key] = _QUEUE_FULL
                except KafkaException as error:
                    self._failures[key] = _failure(error.args[0])
                break

    def _report(self, error: KafkaError | None, message: Report) -> None:
        """Store a failure.

        A success without an offset also counts as a failure. The client reports it if the broker answers with
        DUPLICATE_SEQUENCE_NUMBER. A broker can give this answer for a message that it does not have: it has refused a
        producer's first request to a partition, for example because it was not the leader yet, and has then accepted
        the second one.
        """
        if error is not None:
            self._failures[(message.key() or b"").decode()] = _failure(error)
        elif message.offset() is None:
            self._failures[(message.key() or b"").decode()] = _NO_OFFSET

    def _flushed(self, client: Client, patience: _Patience) -> bool:
        """Wait for all deliveries. Return whether every result is known.

        Wait in short steps, so that signals are handled.
        """
        while left := client.flush(_STEP):
            if patience.is_over():
                break
        return left == 0

    def _give_up(self, client: Client) -> bool:
        """Drop the queued messages and discard the client. Return whether every result is known now.

        The client cannot be used again, because the next message after a purge would fail too.
        """
        self._client = None
        client.purge()
        return client.flush(_PURGE_PATIENCE) == 0

    def _topic_problem(
        self, topic: str, patience: float, deadline: float, stopping: Callable[[], bool]
    ) -> tuple[KafkaError | None, float]:
        """Return the topic's error, if any, and the timeout for the next request."""
        while True:
            try:
                metadata = self._connected().list_topics(topic, timeout=patience)
            except KafkaException as error:
                self._healthy()  # only a poll calls error_cb, which receives the reason
                left = deadline - time.monotonic()
                if stopping() or left <= 0 or self._refused():
                    raise self.unavailable() from error
                patience = min(2 * patience, left)  # brokers may be slow
            else:
                self._client_error = None
                found = metadata.topics[topic]
                self.leaders.learn(topic, {number: each.leader for number, each in found.partitions.items()})
                return found.error, patience

    def _refused(self) -> bool:
        return is_refusal(self._client_error)


def _failure(error: KafkaError) -> DeliveryFailure:
    return DeliveryFailure(fault_of(error), error.name(), error.str())


def _may_pass(failure: DeliveryFailure | None) -> bool:
    return failure is not None and failure.fault is Fault.TRANSPORT


def _kafka_error(error: BaseException) -> KafkaError | None:
    cause = error if isinstance(error, KafkaException) else error.__cause__
    return cause.args[0] if isinstance(cause, KafkaException) else None
