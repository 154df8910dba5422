"""Run a private PostgreSQL server on a loopback address. The server starts in 0.2 s and does not leave files behind.

The server starts quickly, because the data directory that ``initdb`` creates is cached and copied. Each server has its
own random password, which is required for every TCP connection.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from typing import TYPE_CHECKING, Final, Literal, Self

import psycopg2
from psycopg2 import sql

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.sandbox.postgres_binaries import (
    Binaries,
    Choice,
    cache_home,
    find_binaries,
    keep,
    readable,
    server_account,
)
from ticketbottle_payctl.sandbox.server import Account, Server, as_account, free_port
from ticketbottle_payctl.sandbox.service import OneServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Mode = Literal["smart", "fast", "immediate"]

USER: Final = "postgres"

_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_QUICK: Final = {"fsync": "off", "timezone": "UTC", "log_timezone": "UTC", "max_connections": "200"}
"""The default settings. fsync is off, because the data need not survive a power failure. Crash recovery still works."""

_WITH_SCRAM_ITERATIONS: Final = 16
"""The first major version with ``scram_iterations``. With one iteration, each connection is 3 ms faster."""

_WHO_MAY_CONNECT: Final = """\
local all all trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""


class Postgres(OneServer):
    """A PostgreSQL server. Use it as a context manager, or call :meth:`start` and :meth:`close`.

    The data is in a new directory inside ``within``, which is the system's temporary directory by default. If
    ``within`` is in memory (:func:`~ticketbottle_payctl.sandbox.server.in_memory`), the server starts without waiting
    for a busy disk. ``settings`` are parameters of postgresql.conf, such as ``{"wal_level": "logical"}``. These
    settings override this module's defaults.

    Raises:
        ConfigError: PostgreSQL's programs were not found.
        UnavailableError: the server did not start. The message ends with the server's log.
    """

    _ends_with = signal.SIGQUIT

    def __init__(
        self, *, binaries: Choice = "auto", settings: Mapping[str, str] | None = None, within: Path | None = None
    ) -> None:
        self._account = server_account()
        self._binaries = readable(find_binaries(binaries), self._account)
        self._settings = {**_QUICK, **(settings or {})}
        self._within = within
        self._password = secrets.token_urlsafe(18)
        self.port = 0

    def __str__(self) -> str:
        return f"PostgreSQL {self._binaries.version} ({self._binaries.origin})"

    @property
    def version(self) -> str:
        """Return the server's version, such as ``15.18``."""
        return self._binaries.version

    def url(self, database: str = "postgres") -> str:
        """Return the URL of ``database``. The URL contains the password, so never print it."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Create the data directory and start the server. Return when the server accepts connections."""
        self._server = Server("pg", account=self._account, within=self._within, last_signal=signal.SIGQUIT)
        try:
            data = self._server.home / "data"
            _make_data(data, self._binaries, self._account)
            (data / "pg_hba.conf").write_text(_WHO_MAY_CONNECT)
            self.port = free_port()
            self._run()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self, mode: Mode = "fast") -> None:
        """Stop the server as ``pg_ctl stop -m mode`` does, and keep the data.

        :meth:`restart` starts the server again.
        """
        self._started.stop(_SIGNALS[mode])

    def restart(self, mode: Mode = "fast", *, settings: Mapping[str, str] | None = None) -> None:
        """Stop the server if it is running, change ``settings``, and start it with the same port, data and password.

        With the ``immediate`` mode, the server stops as in a crash: it does not flush data, and recovers from the
        write-ahead log at the next start.
        """
        self.stop(mode)
        self._settings.update(settings or {})
        self._run()

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database as a copy of ``template``, and return its URL.

        The template must not have any open sessions.
        """
        # Without fsync, copying files is faster than writing them to the log: 27 ms instead of 33.
        self._administer(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Close all connections to a database and drop it. If the database does not exist, do nothing."""
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self) -> None:
        server = self._started
        own = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(server.home)}
        if int(self.version.partition(".")[0]) >= _WITH_SCRAM_ITERATIONS:
            own["scram_iterations"] = "1"
        lines = [f"{name} = {_quoted(value)}\n" for name, value in (own | self._settings).items()]
        (server.home / "data" / "postgresql.conf").write_text("".join(lines))
        server.run([str(self._binaries.directory / "postgres"), "-D", str(server.home / "data")])
        server.wait_until(self._accepts, what="PostgreSQL accepts connections", timeout=60)
        self._administer(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(USER), sql.Literal(self._password)))

    def _accepts(self) -> bool:
        state = self._started.home / "data" / "postmaster.pid"
        return state.exists() and state.read_text().rstrip().endswith("ready")

    def _administer(self, statement: sql.Composable) -> None:
        connection = psycopg2.connect(
            host=str(self._started.home),
            port=self.port,
            user=USER,
            dbname="postgres",
            options="-c default_transaction_read_only=off",  # a test may have made the whole server read-only
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


def _quoted(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


def _make_data(data: Path, binaries: Binaries, account: Account | None) -> None:
    """Fill ``data`` from the cache, or run initdb if the cache is empty."""
    cached = cache_home() / f"data-{binaries.fingerprint}-{account.name if account else os.geteuid()}"
    if cached.exists():
        _copy(cached, data)
        return
    options = ["--no-sync", "--no-instructions", "--auth=trust", f"--username={USER}", "--no-locale", "--encoding=UTF8"]
    made = subprocess.run(  # noqa: S603 - the command is ours
        [str(binaries.directory / "initdb"), "-D", str(data), *options],
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=False,
        **as_account(account),
    )
    if made.returncode != 0:
        message = f"initdb failed\n{made.stderr}"
        raise UnavailableError(message)
    unfinished = cached.with_name(f"unfinished-{secrets.token_hex(8)}")
    _copy(data, unfinished)
    keep(unfinished, cached)


def _copy(source: Path, target: Path) -> None:
    """Copy a data directory and keep its owner. ``cp`` takes a third of the time that Python's copytree takes."""
    subprocess.run(["/bin/cp", "-pPR", source, target], check=True)  # noqa: S603 - the command is ours
