"""Run a streaming standby of a PostgreSQL server on loopback, and promote it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import psycopg2

from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.sandbox.postgres_binaries import Choice, find_binaries, readable, server_account
from ticketbottle_payctl.sandbox.server import Server, as_account, free_port
from ticketbottle_payctl.sandbox.service import OneServer

NAME: Final = "standby"
"""The standby's name on the primary, for ``synchronous_standby_names``."""


class Standby(OneServer):
    """A copy of the server in ``url``. The copy follows the server until :meth:`promote` is called.

    Raises:
        ConfigError: The server's programs do not include pg_basebackup.
        UnavailableError: The copy could not be made, or the standby did not start.
    """

    _ends_with = signal.SIGQUIT

    def __init__(self, url: str, *, binaries: Choice, within: Path | None = None) -> None:
        self._primary = urlsplit(url)
        self._account = server_account()
        self._programs = readable(find_binaries(binaries), self._account).directory
        self._within = within
        self.port = 0

    def __str__(self) -> str:
        return "standby"

    def start(self) -> Self:
        """Copy the primary and start the standby. Return when the standby follows the primary and answers."""
        if not (self._programs / "pg_basebackup").exists():
            message = "pg_basebackup was not found next to the PostgreSQL server"
            raise ConfigError(message, hint="on Debian: apt-get install postgresql")
        self._server = Server("standby", account=self._account, within=self._within, last_signal=signal.SIGQUIT)
        self.port = free_port()
        data = self._server.home / "data"
        self._copy(data)
        own = f"port = {self.port}\nunix_socket_directories = '{self._server.home}'\nhot_standby = on\n"
        with (data / "postgresql.conf").open("a") as file:
            file.write(own)
        self._server.run([str(self._programs / "postgres"), "-D", str(data)])
        self._server.wait_until(self._follows, what="the standby follows the primary", timeout=60)
        return self

    def promote(self) -> None:
        """Promote the standby to primary. Return when the server accepts writes."""
        self.execute("SELECT pg_promote(true, 60)")

    def stop_following(self) -> None:
        """Stop the replication. The primary's later commits do not reach the standby."""
        self.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.execute("SELECT pg_reload_conf()")
        self._started.wait_until(lambda: not self._receives(), what="the standby receives nothing", timeout=30)

    def execute(self, sql: str) -> object:
        """Run a statement on the standby as the superuser. Return the first value."""
        where = f"{self._primary.username}:{self._primary.password}@127.0.0.1:{self.port}"
        return execute(self._primary._replace(netloc=where).geturl(), sql)

    def _copy(self, data: Path) -> None:
        primary = self._primary
        where = f"host=127.0.0.1 port={primary.port} user={primary.username} application_name={NAME}"
        done = subprocess.run(
            [
                *(str(self._programs / "pg_basebackup"), "-D", str(data), "-d", where, "-R"),
                *("--checkpoint=fast", "--no-sync", "--wal-method=stream"),
            ],
            env={**os.environ, "PGPASSWORD": primary.password or ""},
            cwd=data.parent,
            capture_output=True,
            text=True,
            check=False,
            **as_account(self._account),
        )
        if done.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            message = f"pg_basebackup failed\n{done.stderr[-1000:]}"
            raise UnavailableError(message)

    def _receives(self) -> bool:
        return bool(self.execute("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"))

    def _follows(self) -> bool:
        try:
            return self._receives()
        except psycopg2.OperationalError:
            return False


def execute(url: str, sql: str) -> object:
    """Run a statement outside a transaction block. Return the first value."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()
