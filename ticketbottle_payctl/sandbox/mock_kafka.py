"""Run librdkafka's mock cluster in this process. Its brokers speak Kafka's protocol and can fail on request.

The cluster starts in a millisecond and does not need Java. The cluster keeps messages, offsets and consumer groups in
memory, and other processes can connect to it. The mock cluster does not support TLS or SASL, so tests for TLS and SASL
use Apache Kafka. https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h declares the functions.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
import threading
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import confluent_kafka

from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.sandbox.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable

_PRODUCER: Final = 0


class KafkaRequest(IntEnum):
    """The API key (request type) of a request in Kafka's protocol.

    https://kafka.apache.org/protocol.html#protocol_api_keys lists all keys.
    """

    PRODUCE = 0
    FETCH = 1
    METADATA = 3


class MockKafka(Service):
    """A mock cluster. Use it as a context manager, or call :meth:`start` and :meth:`close`.

    Raises:
        ConfigError: the shared library of librdkafka that the Kafka client uses was not found.
    """

    def __init__(self, *, brokers: int = 1) -> None:
        self._library = _library()
        self._brokers = brokers
        self._client: int | None = None
        self._cluster: int | None = None

    def __str__(self) -> str:
        return "mock Kafka"

    def start(self) -> Self:
        """Start the brokers. Return when they are ready."""
        words = ctypes.create_string_buffer(256)
        # The brokers belong to a client without a connection. By default this client logs the missing connection.
        quiet = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(quiet, b"log_level", b"0", words, len(words))
        self._client = self._library.rd_kafka_new(_PRODUCER, quiet, words, len(words))
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, self._brokers)
        return self

    def close(self) -> None:
        """Stop the brokers and delete their data. Closing twice is not an error."""
        if self._cluster is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._cluster = None
        if self._client is not None:
            self._library.rd_kafka_destroy(self._client)
            self._client = None

    @property
    def bootstrap(self) -> str:
        """Return the value for KAFKA_BROKERS, which is a comma-separated list of the brokers' ``127.0.0.1:port``."""
        found: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._running)
        return found.decode()

    def create_topic(self, name: str, partitions: int = 3) -> str:
        """Create a topic and return its name."""
        self._command("topic_create", name.encode(), partitions, 1)
        return name

    def down(self) -> None:
        """Close all connections and refuse new ones, like an unavailable cluster. Keep the data."""
        for broker in self._each():
            self._command("broker_set_down", broker)

    def up(self) -> None:
        """Accept connections again."""
        for broker in self._each():
            self._command("broker_set_up", broker)

    def set_rtt(self, milliseconds: int) -> None:
        """Delay every response by this many milliseconds. The default is 0."""
        for broker in self._each():
            self._command("broker_set_rtt", broker, milliseconds)

    def fail_next(self, *errors: int, request: KafkaRequest = KafkaRequest.PRODUCE) -> None:
        """Answer the next requests of this type with these errors in order, one error per request.

        ``error`` is a code such as ``KafkaError.MSG_SIZE_TOO_LARGE``. With ``KafkaError.NO_ERROR``, a request succeeds,
        and with ``KafkaError._TRANSPORT``, the connection is closed.
        """
        numbers = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._running, request, len(errors), numbers)

    def forget_failures(self) -> None:
        """Remove the errors that have not been returned yet, and respond without delay again."""
        for request in KafkaRequest:
            self._library.rd_kafka_mock_clear_request_errors(self._running, request)
        self.set_rtt(0)

    def fail_topic(self, name: str, error: int) -> None:
        """Report this error, such as ``KafkaError.TOPIC_AUTHORIZATION_FAILED``, in a topic's metadata.

        0 removes the error.
        """
        self._command("topic_set_error", name.encode(), error)

    def set_leader(self, topic: str, partition: int, broker: int) -> None:
        """Make ``broker`` (1, 2, ...) the leader of a partition. If ``broker`` is -1, the partition has no leader."""
        self._command("partition_set_leader", topic.encode(), partition, broker)

    @property
    def _running(self) -> int:
        if self._cluster is None:
            message = "this mock Kafka has not been started"
            raise UnavailableError(message)
        return self._cluster

    def _each(self) -> range:
        return range(1, self._brokers + 1)

    def _command(self, name: str, *arguments: bytes | int) -> None:
        """Run a command in the cluster's thread, and wait for it to finish.

        Sometimes the thread misses the command and sleeps for another second. A new connection wakes the thread.
        """
        wake = threading.Timer(0.02, self._connect)
        wake.start()
        try:
            error = getattr(self._library, f"rd_kafka_mock_{name}")(self._running, *arguments)
        finally:
            wake.cancel()
        if error:
            words: bytes = self._library.rd_kafka_err2str(error)
            message = f"the mock Kafka refused {name}: {words.decode()}"
            raise UnavailableError(message)

    def _connect(self) -> None:
        host, _, port = self.bootstrap.split(",")[0].rpartition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), 1):
            pass


def _library() -> ctypes.CDLL:
    """Return the librdkafka that confluent_kafka uses, so that the mock cluster and the client share one version."""
    for place in _places():
        with suppress(OSError):
            return _declare(ctypes.CDLL(str(place)))
    message = "librdkafka's shared library was not found next to confluent_kafka or on the system"
    raise ConfigError(message, hint="install confluent-kafka from its wheel, or librdkafka from your system's packages")


def _places() -> Iterable[str | Path]:
    package = Path(confluent_kafka.__file__).parent
    yield from package.with_name("confluent_kafka.libs").glob("librdkafka*")  # the path in Linux wheels
    yield from (package / ".dylibs").glob("librdkafka*")  # the path in macOS wheels
    system = ctypes.util.find_library("rdkafka")
    if system:
        yield system


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Declare the functions' C types. Without these declarations, pointers would be truncated to 32 bits."""
    pointer, number, text, short = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int16
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, ()),
        ("rd_kafka_conf_set", number, (pointer, text, text, text, ctypes.c_size_t)),
        ("rd_kafka_new", pointer, (number, pointer, text, ctypes.c_size_t)),
        ("rd_kafka_destroy", None, (pointer,)),
        ("rd_kafka_err2str", text, (number,)),
        ("rd_kafka_mock_cluster_new", pointer, (pointer, number)),
        ("rd_kafka_mock_cluster_destroy", None, (pointer,)),
        ("rd_kafka_mock_cluster_bootstraps", text, (pointer,)),
        ("rd_kafka_mock_topic_create", number, (pointer, text, number, number)),
        ("rd_kafka_mock_topic_set_error", None, (pointer, text, number)),
        ("rd_kafka_mock_broker_set_down", number, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_broker_set_up", number, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_broker_set_rtt", number, (pointer, ctypes.c_int32, number)),
        ("rd_kafka_mock_partition_set_leader", number, (pointer, text, ctypes.c_int32, ctypes.c_int32)),
        ("rd_kafka_mock_push_request_errors_array", None, (pointer, short, ctypes.c_size_t, pointer)),
        ("rd_kafka_mock_clear_request_errors", None, (pointer, short)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
