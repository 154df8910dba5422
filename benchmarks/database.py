"""Start the database with the same durability settings as in production, and fill the outbox before each turn.

Autovacuum is off, because it might run in one contender's turn but not in another's. A separate benchmark holds an old
snapshot, and measures the publisher while vacuum cannot remove rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg2
from sqlalchemy import Engine

from benchmarks.processes import cpu_of
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox import payment_service
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import Limits, make_engine, transaction

_PATIENT = Limits(statement=timedelta(minutes=30))
_OLD = timedelta(days=2)
_OLDER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Database:
    """A running server with the payment service's tables and payctl's tables."""

    server: Postgres
    engine: Engine

    @property
    def url(self) -> str:
        """Return the URL, including the password.

        Pass the URL to a child process in the environment, never in arguments, and never put it into a report.
        """
        return self.server.url()

    def cpu(self) -> float:
        """Return the CPU time of the server and all its backends, in seconds, including backends that have ended."""
        return cpu_of(self.server.pid or 0)

    def wal(self) -> int:
        """Return the number of bytes that have been written to the write-ahead log."""
        return int(self.one("SELECT pg_current_wal_lsn() - '0/0'"))

    def one(self, statement: str) -> Any:  # noqa: ANN401 - the type depends on the statement
        """Run a statement outside a transaction.

        Return the first value in the result, or None if the result is empty.
        """
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                row = cursor.fetchone() if cursor.description else None
                return row[0] if row else None
        finally:
            connection.close()

    def fill(self, rows: int, *, published: int, dead: int = 0, analyze: bool = True) -> None:
        """Delete all events except ``published`` old published ones, and create those if necessary.

        Then insert ``dead`` dead events and a backlog of ``rows`` pending events. If ``analyze`` is false, the
        statistics do not include the backlog.
        """
        old = self.one("""SELECT count(*) FROM outbox WHERE "createdAt" < now() - interval '36 hours'""")
        with transaction(self.engine, _PATIENT) as connection:
            if old == published:
                connection.exec_driver_sql("""DELETE FROM outbox WHERE "createdAt" > now() - interval '36 hours'""")
            else:
                connection.exec_driver_sql("TRUNCATE outbox")
                payment_service.insert_events(connection, published, state="published", age=_OLD)
        self.one("VACUUM (ANALYZE) outbox")
        with transaction(self.engine, _PATIENT) as connection:
            if dead:
                payment_service.insert_events(connection, dead, state="dead", age=_OLDER)
            payment_service.insert_events(connection, rows)
        if analyze:
            self.one("VACUUM (ANALYZE) outbox")
        self.one("CHECKPOINT")

    def pending(self) -> int:
        """Return the number of pending events."""
        return int(self.one('SELECT count(*) FROM outbox WHERE NOT published AND "retryCount" < 5'))


@contextmanager
def database(**settings: str) -> Iterator[Database]:
    """Start the system's PostgreSQL. If PostgreSQL is not installed on the system, start it from the wheel."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    ours = {
        "fsync": "on",
        "synchronous_commit": "on",
        "autovacuum": "off",
        "shared_buffers": f"{min(2048, memory // 4)}MB",
        "max_wal_size": "16GB",
        "checkpoint_timeout": "1h",
    }
    with _server({**ours, **settings}) as server:
        engine = make_engine(DatabaseSettings(Secret(server.url())))
        try:
            with transaction(engine, _PATIENT) as connection:
                payment_service.create_tables(connection)
            migrations.upgrade(engine)
            yield Database(server, engine)
        finally:
            engine.dispose()


def _server(settings: dict[str, str]) -> Postgres:
    try:
        return Postgres(binaries="system", settings=settings)
    except ConfigError:
        return Postgres(binaries="wheel", settings=settings)
