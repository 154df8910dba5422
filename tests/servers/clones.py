"""Create databases for tests as copies of a template. A single connection creates and removes all copies."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

if TYPE_CHECKING:
    from ticketbottle_payctl.sandbox.postgres import Postgres


class Clones:
    """A maker of databases on a server that a test can restart.

    The maker keeps its connection, because connecting for each statement costs the server as much time as copying the
    files.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._numbers = count(1)
        self._connection: psycopg2.extensions.connection | None = None

    def create(self, template: str = "template1", *, prefix: str = "clone") -> str:
        """Create a copy of ``template`` and return its name. No session may be using the template."""
        name = f"{prefix}_{next(self._numbers)}"
        # Without fsync, copying files is faster than writing them to the log.
        self._run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Drop a database and close its connections."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Close the connection. The next statement opens a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: sql.Composable) -> None:
        try:
            self._execute(statement)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):  # the test has restarted the server
            self.close()
            self._execute(statement)

    def _execute(self, statement: sql.Composable) -> None:
        if self._connection is None:
            # A test might have made the whole server read-only.
            self._connection = psycopg2.connect(self._postgres.url(), options="-c default_transaction_read_only=off")
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
