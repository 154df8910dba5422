"""Run PgBouncer in transaction mode in front of a PostgreSQL server.

In the tests, PgBouncer also replaces RDS Proxy.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from typing import Final, Self
from urllib.parse import urlsplit

import psycopg2

from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.sandbox.postgres_binaries import server_account
from ticketbottle_payctl.sandbox.server import Server, free_port
from ticketbottle_payctl.sandbox.service import OneServer

_SETTINGS: Final = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "any",  # PgBouncer logs in to the server with the user of the given URL
    "pool_mode": "transaction",
}


class PgBouncer(OneServer):
    """A pooler for all databases on the server in ``url``, with at most ``size`` connections to each database.

    ``settings`` are lines for pgbouncer.ini.

    Raises:
        ConfigError: PgBouncer is not installed.
        UnavailableError: PgBouncer did not start.
    """

    def __init__(self, url: str, *, size: int, settings: Mapping[str, str] | None = None) -> None:
        self._target = urlsplit(url)
        self._settings = {**_SETTINGS, "default_pool_size": str(size), **(settings or {})}
        self.port = 0

    def __str__(self) -> str:
        return "PgBouncer"

    @property
    def url(self) -> str:
        """The given URL with PgBouncer's port."""
        target = self._target
        return target._replace(netloc=f"{target.username}:{target.password}@127.0.0.1:{self.port}").geturl()

    def start(self) -> Self:
        """Start PgBouncer. Return when it accepts connections."""
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            message = "PgBouncer was not found"
            raise ConfigError(message, hint="on Debian: apt-get install pgbouncer")
        self._server = Server("pgbouncer", account=server_account(), last_signal=signal.SIGTERM)
        self.port = free_port()
        lines = [f"{name} = {value}\n" for name, value in {**self._settings, "listen_port": str(self.port)}.items()]
        target = self._target
        where = f"host=127.0.0.1 port={target.port} user={target.username} password={target.password}"
        file = self._server.home / "pgbouncer.ini"
        file.write_text(f"[databases]\n* = {where}\n[pgbouncer]\n{''.join(lines)}", "utf-8")
        self._server.run([program, str(file)])
        self._server.wait_until(self._answers, what="PgBouncer answers", timeout=20)
        return self

    def command(self, sql: str) -> list[tuple[object, ...]]:
        """Run a command in PgBouncer's own console, such as SHOW POOLS. Return the rows."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="pgbouncer", dbname="pgbouncer")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url).close()
        except psycopg2.OperationalError as error:
            if not self.running:
                message = f"PgBouncer ended: {error}"
                raise UnavailableError(message) from error
            return False
        return True
