"""The producer: give it a wave of messages, get back the ones that were not acknowledged.

Only failures are reported by the client (one callback per message would cost more than the message), so a
message is known to be appended when the queue ran empty and no failure names it.
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
from ticketbottle_payctl.domain.event import TOPICS, Message
from ticketbottle_payctl.domain.retry import Fault
from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError, ConfigError

_PURGE_PATIENCE = 5.0
_STEP = 0.25
_STOP_PATIENCE = 5.0
_MOST_NEW_CLIENTS = 2
_CREDENTIALS = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_REFUSED = {*_CREDENTIALS, KafkaError._SSL}

# A fatal error of idempotence is raised by whatever serves the callbacks, and where it meets one of ours the
# interpreter wraps it.
_FATAL = (KafkaException, SystemError)

# librdkafka says one thing in spite of log_level 0: that it met a fatal error.
_LOGGER = logging.getLogger(__name__)


def _never() -> bool:
    return False


class Failure(NamedTuple):
    """Why a message was not acknowledged. ``reason`` is the broker's or the client's text, without the payload."""

    fault: Fault
    code: str
    reason: str


class _Patience:
    """How much longer a wave may take: its own time, a little once a stop is asked for, none once its claim is lost."""

    def __init__(self, timeout: float, stopping: Callable[[], bool], lost: Callable[[], bool]) -> None:
        self._deadline = time.monotonic() + timeout
        self._stopping, self._lost = stopping, lost

    def is_over(self) -> bool:
        if self._stopping():
            self._deadline = min(self._deadline, time.monotonic() + _STOP_PATIENCE)
            self._stopping = _never
        return time.monotonic() >= self._deadline or self._lost()


_QUEUE_FULL = Failure(Fault.TRANSPORT, "_QUEUE_FULL", "the client's queue stayed full")
_LOST = Failure(Fault.TRANSPORT, "CLAIM_LOST", "the database gave the claim up, so another publisher may send it")
_UNKNOWN = Failure(Fault.TRANSPORT, "_UNKNOWN", "the client was closed before it reported the delivery")


class Producer:
    """One idempotent producer, made on first use and made anew after a fatal error or a purge."""

    def __init__(self, config: Mapping[str, Any], *, new_client: Callable[..., Client] = Client) -> None:
        self._config = dict(config)
        self.leaders = Leaders()
        self._new_client = new_client
        self._client: Client | None = None
        self._failures: dict[str, Failure] = {}
        self._client_error: KafkaError | None = None

    def probe(self, timeout: float, stopping: Callable[[], bool] = _never) -> dict[str, Failure]:
        """Ask the brokers for our topics, within ``timeout`` seconds; the event types that cannot flow, and why.

        ``leaders`` knows afterwards which partitions have none. Slow brokers are waited for: what one answer took, the
        next is given.

        A stop that is asked for meanwhile ends it within a few seconds.

        Raises:
            BrokerUnavailableError: no broker answered.
            BrokerRefusedError: a broker answered and refused us.
        """
        deadline = time.monotonic() + timeout
        stopped = {}
        patience = _STEP
        for event_type, topic in TOPICS.items():
            problem, patience = self._topic_problem(topic, patience, deadline, stopping)
            if problem is not None and fault_of(problem) is Fault.CONFIGURATION:
                stopped[event_type] = _failure(problem)
        return stopped

    def send(
        self,
        wave: Sequence[Message],
        timeout: float,
        stopping: Callable[[], bool] = _never,
        lost: Callable[[], bool] = _never,
    ) -> dict[str, Failure]:
        """Send messages of distinct keys and wait; the failed ones by key, empty where every one is appended.

        Never longer than ``timeout`` seconds and a short purge; once a stop is asked for, a few seconds. ``lost`` says
        that the wave is no longer ours: nothing of it is sent then, and what still waits to be sent is given up.
        What is unresolved by then has failed, though the broker may still have it: a later duplicate carries
        the same event id.
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
        return BrokerUnavailableError(message, hint="check that the brokers are up, and that KAFKA_SSL fits their port")

    def close(self) -> None:
        """Let the client go. Nothing is in flight between two calls of :meth:`send`, so nothing is lost."""
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
        """Keep what says most: a refusal stays, and "all brokers are down" never replaces the reason why."""
        if self._refused() or (self._client_error is not None and error.code() == KafkaError._ALL_BROKERS_DOWN):
            return
        self._client_error = error

    def _send_once(self, wave: Sequence[Message], patience: _Patience) -> tuple[dict[str, Failure], bool]:
        """The failed ones, and whether the client met a fatal error."""
        failures: dict[str, Failure] = {}
        self._failures = failures
        client = self._healthy()
        died = False
        try:
            self._produce(client, wave, patience)
            known = self._flushed(client, patience) or self._give_up(client)
        except _FATAL as error:
            self._client_error = _kafka_error(error)
            died, known = True, False  # a report may have been lost with it
            with suppress(*_FATAL):
                self._give_up(client)
        if not known:
            for message in wave:
                failures.setdefault(message.key, _UNKNOWN)
        return failures, died

    def _healthy(self) -> Client:
        """The client, made anew where the old one met a fatal error since it was last asked."""
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
                        client.poll(0.05)
                        continue
                    self._failures[key] = _QUEUE_FULL
                except KafkaException as error:
                    self._failures[key] = _failure(error.args[0])
                break

    def _report(self, error: KafkaError | None, message: Report) -> None:
        if error is not None:
            self._failures[(message.key() or b"").decode()] = _failure(error)

    def _flushed(self, client: Client, patience: _Patience) -> bool:
        """Wait for every delivery, in short steps so that signals are heard; whether every one is known."""
        while left := client.flush(_STEP):
            if patience.is_over():
                break
        return left == 0

    def _give_up(self, client: Client) -> bool:
        """Throw away what is left and the client with it: after a purge it would fail its next message too.

        True where by now every delivery is known.
        """
        self._client = None
        client.purge()
        return client.flush(_PURGE_PATIENCE) == 0

    def _topic_problem(
        self, topic: str, patience: float, deadline: float, stopping: Callable[[], bool]
    ) -> tuple[KafkaError | None, float]:
        """What keeps a topic from being written to, and how long an answer is waited for by now."""
        while True:
            try:
                metadata = self._connected().list_topics(topic, timeout=patience)
            except KafkaException as error:
                self._healthy()  # only a poll calls error_cb, which knows why
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
        return self._client_error is not None and self._client_error.code() in _REFUSED


def _failure(error: KafkaError) -> Failure:
    return Failure(fault_of(error), error.name(), error.str())


def _may_pass(failure: Failure | None) -> bool:
    return failure is not None and failure.fault is Fault.TRANSPORT


def _kafka_error(error: BaseException) -> KafkaError | None:
    cause = error if isinstance(error, KafkaException) else error.__cause__
    return cause.args[0] if isinstance(cause, KafkaException) else None
