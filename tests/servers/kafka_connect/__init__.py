"""Run Kafka Connect with Debezium's PostgreSQL connector as one standalone worker on loopback.

payctl can hand an outbox over to Debezium. The benchmarks compare payctl with Debezium, and the tests prove that both
programs send the same messages. PostgreSQL must run with ``wal_level=logical``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.servers.java import Program, properties
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.sandbox.server import Server, free_port
from ticketbottle_payctl.sandbox.service import OneServer

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM: Final = Program(Path(__file__).parent)

_STRING: Final = "org.apache.kafka.connect.storage.StringConverter"
_HEAP: Final = ("-Xms256m", "-Xmx1g")
_LOGGING: Final = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"

_WORKER: Final = {
    "plugin.discovery": "service_load",  # scanning the class path takes a second longer
    "key.converter": _STRING,
    "value.converter": _STRING,
    "offset.flush.interval.ms": "1000",
    "producer.acks": "all",
    "producer.compression.type": "lz4",
    "producer.linger.ms": "5",
    "producer.batch.size": "131072",
}

_NO_DATABASE: Final = {"database.hostname": "127.0.0.1", "database.port": "1"}


def _command(home: Path, connector: str, *options: str) -> list[str]:
    files = [str(home / name) for name in ("worker.properties", connector)]
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    return PROGRAM.command(main, *files, options=(*_HEAP, _LOGGING, *options))


class KafkaConnect(OneServer):
    """A worker with one connector. Use it as a context manager or with :meth:`start` and :meth:`close`.

    ``connector`` contains the connector's properties, including ``name``. ``worker`` adds to the worker's own
    properties.

    Raises:
        ConfigError: Java or Maven is missing.
        UnavailableError: The jars could not be downloaded, or the connector does not run.
    """

    def __init__(
        self, bootstrap: str, connector: Mapping[str, str], *, worker: Mapping[str, str] | None = None
    ) -> None:
        PROGRAM.class_path()
        self._port = free_port()
        self._connector = {"tasks.max": "1", **connector}
        self._worker = {**_WORKER, "bootstrap.servers": bootstrap, **(worker or {})}

    def __str__(self) -> str:
        return f"Kafka Connect {PROGRAM.version}"

    @property
    def url(self) -> str:
        """The URL of the worker's REST API."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the worker. Return when the connector and its task are RUNNING."""
        self._server = Server("connect")
        home = self._server.home
        own = {"listeners": self.url, "offset.storage.file.filename": str(home / "offsets")}
        (home / "worker.properties").write_text(properties(self._worker | own))
        (home / "connector.properties").write_text(properties(self._connector))
        try:
            PROGRAM.share_classes(lambda option: self._fail_once(home, option))
            self._server.run(_command(home, "connector.properties"))
            self._server.wait_until(self._runs, what="the connector is RUNNING", timeout=90)
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Shut the worker down normally, so that it confirms its read position to PostgreSQL."""
        if self._server is not None:
            self._server.stop(signal.SIGTERM)

    def status(self) -> dict[str, str]:
        """Map the connector and each of its tasks to its state, for example RUNNING.

        If the states are unknown, the result is empty.
        """
        request = f"{self.url}/connectors/{self._connector['name']}/status"
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - our own http URL
                found = json.load(answer)
        except (urllib.error.URLError, OSError):
            return {}
        tasks = {f"task {task['id']}": task["state"] for task in found["tasks"]}
        return {"connector": found["connector"]["state"], **tasks}

    def _fail_once(self, home: Path, option: str) -> None:
        """Run the worker until it ends by itself, because the connector's database is unavailable."""
        (home / "failing.properties").write_text(properties(self._connector | _NO_DATABASE))
        command = _command(home, "failing.properties", option)
        subprocess.run(command, capture_output=True, check=False, cwd=home, timeout=120)

    def _runs(self) -> bool:
        states = self.status()
        if "FAILED" in states.values():
            message = f"the connector failed\n{self.log.read_text(errors='replace')[-2000:]}"
            raise UnavailableError(message)
        return len(states) > 1 and set(states.values()) == {"RUNNING"}
