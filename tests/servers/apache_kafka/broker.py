"""Format, start, stop, kill and pause an Apache Kafka broker, and remove it at the end."""

from __future__ import annotations

import base64
import secrets
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from tests.servers.apache_kafka.configuration import (
    SCRAM,
    USERNAME,
    Ports,
    broker_properties,
    proxied_properties,
    secure_properties,
)
from tests.servers.certificates import Certificates, make_certificates
from tests.servers.java import Program, properties
from ticketbottle_payctl.broker.range_reader import Place, RangeReader
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.sandbox.kafka_messages import create_topics
from ticketbottle_payctl.sandbox.server import Server
from ticketbottle_payctl.sandbox.service import OneServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROGRAM: Final = Program(Path(__file__).parent)

_HEAP: Final = ("-Xms256m", "-Xmx512m")
_LOGGING: Final = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"


class ApacheKafka(OneServer):
    """A single broker. Use it as a context manager or with :meth:`start` and :meth:`close`.

    ``secure`` adds a SASL_SSL listener (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) and a TLS listener, with new certificates
    and a new password. ``proxied`` adds a plain listener on ``behind_proxy``. This listener tells its clients to
    connect to ``proxy_port``, where a test's proxy can listen. ``settings`` are lines for server.properties that
    override the defaults.

    Raises:
        ConfigError: Java, Maven or openssl is missing. The hint says what to install.
        UnavailableError: The jars could not be downloaded, or the broker did not start.
    """

    def __init__(
        self,
        *,
        secure: bool = False,
        proxied: bool = False,
        settings: Mapping[str, str] | None = None,
        within: Path | None = None,
    ) -> None:
        PROGRAM.class_path()
        self._secure, self._proxied = secure, proxied
        self._settings = dict(settings or {})
        self._within = within
        self._ports = Ports()
        self._certificates: Certificates | None = None
        self.username = USERNAME
        self.password = secrets.token_urlsafe(18)

    def __str__(self) -> str:
        return f"Apache Kafka {PROGRAM.version}"

    @property
    def bootstrap(self) -> str:
        """The address of the plain listener, for KAFKA_BROKERS."""
        return f"127.0.0.1:{self._ports.plain}"

    @property
    def secure_bootstrap(self) -> str:
        """The address of the SASL_SSL listener."""
        return f"127.0.0.1:{self._ports.secure}"

    @property
    def ssl_bootstrap(self) -> str:
        """The address of the TLS listener, which does not require a password."""
        return f"127.0.0.1:{self._ports.tls}"

    @property
    def proxy_port(self) -> int:
        """The port to which the proxied listener sends its clients. A test's proxy must listen on this port."""
        return self._ports.proxy

    @property
    def behind_proxy(self) -> int:
        """The port on 127.0.0.1 to which the proxy must connect."""
        return self._ports.proxied

    @property
    def certificates(self) -> Certificates:
        """The trusted certificate authority, and a second authority that clients must not trust."""
        if self._certificates is None:
            message = "this Apache Kafka was not started with secure=True"
            raise UnavailableError(message)
        return self._certificates

    @property
    def ca_file(self) -> str:
        """The path of the trusted authority's file, for KAFKA_CA_FILE."""
        return str(self.certificates.ca)

    def environment(self, mechanism: str | None = None) -> dict[str, str]:
        """Return payctl's environment variables for this broker.

        ``mechanism`` is KAFKA_SASL_MECHANISM, or None for no login.
        """
        if mechanism is None:
            return {"KAFKA_BROKERS": self.bootstrap}
        return {
            "KAFKA_BROKERS": self.secure_bootstrap,
            "KAFKA_SSL": "true",
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_USERNAME": self.username,
            "KAFKA_PASSWORD": self.password,
            "KAFKA_CA_FILE": self.ca_file,
        }

    def start(self) -> Self:
        """Format the storage, start the broker, and return when the broker answers."""
        self._server = Server("kafka", within=self._within)
        try:
            self._configure(self._server.home)
            self._format()
            PROGRAM.share_classes(self._run_once)
            self.restart()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Shut the broker down normally and keep its data for :meth:`restart`."""
        self._started.send(signal.SIGCONT)
        self._started.stop(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the broker without a clean shutdown, like a crash. :meth:`restart` recovers the data from the log."""
        self._started.stop(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the broker. Connections stay open, but the broker does not answer."""
        self._started.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Make the broker continue after :meth:`pause`."""
        self._started.send(signal.SIGCONT)

    def restart(self) -> None:
        """Stop the broker if it is running. Then start it with the same ports and data."""
        self.stop()
        self._run()

    def revive(self) -> None:
        """Make sure that the broker is running and answers, even after an earlier fault."""
        self.resume()
        if not self._started.running:
            self.restart()

    def recreate_topics(
        self, names: Iterable[str], *, partitions: int = 3, config: Mapping[str, str] | None = None
    ) -> None:
        """Delete these topics and recreate them with ``partitions`` and ``config``. Return when they accept records."""
        wanted = list(names)
        self.delete_topics(wanted)
        self._create(wanted, partitions, config)

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete these topics if they exist. Return when the broker no longer accepts records for them.

        The controller confirms a deletion before the broker carries it out. Until then, the broker acknowledges records
        and deletes them a moment later, even if a topic of the same name was created in the meantime. The broker
        carries out changes in their order, so the deletion is done when a newer topic answers.
        """
        admin = self._admin()
        answers = admin.delete_topics(list(names), operation_timeout=30).values()
        refused = [error for answer in answers if (error := answer.exception(30)) is not None]
        for error in refused:
            if not isinstance(error, KafkaException) or error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise error
        if len(refused) == len(answers):
            return  # no topic existed
        newer = f"after-a-deletion-{secrets.token_hex(8)}"
        self._create([newer], 1)
        admin.delete_topics([newer])[newer].result(30)

    def _create(self, names: Sequence[str], partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Create topics. Return when the broker serves every partition, a moment after it has confirmed the topics."""
        create_topics(self.bootstrap, names, partitions=partitions, config=config)
        places = [(name, number) for name in names for number in range(partitions)]
        self._started.wait_until(lambda: self._serves(places), what="Apache Kafka serves new topics", timeout=30)

    def _admin(self) -> AdminClient:
        """Return a new client. The caller must keep it until it has the result of each request."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def _configure(self, home: Path) -> None:
        values = broker_properties(self._ports, home / "data")
        if self._secure:
            self._certificates = make_certificates(home / "certificates")
            values |= secure_properties(self._ports, self._certificates, self.password)
        if self._proxied:
            values |= proxied_properties(self._ports, values)
        (home / "server.properties").write_text(properties(values | self._settings))

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        home = self._started.home
        arguments = ["format", "--standalone", f"--cluster-id={cluster}", "-c", str(home / "server.properties")]
        if self._secure:
            for mechanism in SCRAM:
                arguments += ["--add-scram", f"{mechanism}=[name={self.username},password={self.password}]"]
        command = PROGRAM.command("kafka.tools.StorageTool", *arguments, options=(_LOGGING,))
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
        if done.returncode != 0:
            message = f"Apache Kafka's storage could not be formatted\n{done.stderr[-1000:]}"
            raise UnavailableError(message)

    def _run(self, *options: str) -> None:
        home = str(self._started.home / "server.properties")
        self._started.run(PROGRAM.command("kafka.Kafka", home, options=(*_HEAP, _LOGGING, *options)))
        self._started.wait_until(self._answers, what="Apache Kafka answers", timeout=60)

    def _run_once(self, option: str) -> None:
        self._run(option)
        self._started.stop(signal.SIGTERM, timeout=120)

    def _serves(self, places: Iterable[Place]) -> bool:
        config = {"bootstrap.servers": self.bootstrap, "log_level": 0}
        with suppress(UnavailableError), RangeReader(config, "payctl-tests", 5.0) as reader:
            return bool(reader.bounds(places))
        return False

    def _answers(self) -> bool:
        with suppress(OSError, KafkaException), socket.create_connection(("127.0.0.1", self._ports.plain), 1):
            return bool(self._admin().list_topics(timeout=5).brokers)
        return False
