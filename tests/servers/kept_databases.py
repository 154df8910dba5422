"""Give each test a database in its initial state, and reuse the databases of tests that changed only rows.

Creating and dropping a database and reading its catalogs takes about 17 ms of processor time. Emptying a database takes
2 ms.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg2

if TYPE_CHECKING:
    from tests.servers.clones import Clones
    from ticketbottle_payctl.sandbox.postgres import Postgres

MOST_USES: Final = 100
"""How many tests can use a database. Each TRUNCATE leaves dead rows in the system catalogs."""

LONGEST_EXIT: Final = 0.5
"""How many seconds a closed session has to end on the server. On a busy machine, this can take longer."""

_STATE: Final = """
    PREPARE state AS
    WITH tables AS (
        SELECT c.oid, n.nspname = 'pg_catalog' OR (n.nspname, c.relname) = ('payctl', 'migrations') AS fixed,
            pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid)
                + pg_stat_get_tuples_deleted(c.oid) > 0 AS written,
            pg_relation_size(c.oid) > 0 AS filled, c.reltuples >= 0 AS counted
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND NOT c.relisshared AND n.nspname IN ('pg_catalog', 'public', 'payctl')
    )
    SELECT pg_stat_get_db_numbackends(d.oid) - 1,
        -- All sessions have ended, so the statistics contain all changes since pg_stat_reset().
        EXISTS (SELECT FROM tables WHERE fixed AND written)
        -- VACUUM and ANALYZE of an empty table only write its number of rows.
        OR EXISTS (SELECT FROM tables WHERE NOT fixed AND NOT filled AND counted)
        OR d.datconnlimit <> -1 OR NOT d.datallowconn OR d.datacl IS NOT NULL OR d.datdba <> 'postgres'::regrole
        OR EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid)
        OR EXISTS (SELECT FROM pg_replication_slots WHERE database = d.datname)
        OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = d.datname),
        ARRAY(SELECT oid::regclass::text FROM tables WHERE NOT fixed AND filled)
    FROM pg_database AS d WHERE d.datname = current_database()
"""


@dataclass
class _Kept:
    """A database, this module's session in it, and how many tests have used it."""

    name: str
    session: psycopg2.extensions.connection | None = None
    uses: int = 0


@dataclass(frozen=True)
class _State:
    """The number of other sessions, whether anything except rows has changed, and the tables that contain rows."""

    sessions: int
    changed: bool
    filled: list[str]


class KeptDatabases:
    """A maker of databases that are copies of one template.

    If a test changed only rows, its database is emptied and given to a later test. Otherwise it is dropped. A reused
    database has an idle session of this class. A new database does not have such a session.
    """

    def __init__(self, postgres: Postgres, clones: Clones, template: str, longest_exit: float = LONGEST_EXIT) -> None:
        self._postgres, self._clones, self._template = postgres, clones, template
        self._longest_exit = longest_exit
        self._in_use: dict[str, _Kept] = {}
        self._idle: list[_Kept] = []

    def take(self) -> str:
        """Return the name of a database in its initial state."""
        kept = self._still_empty() or _Kept(self._clones.create(self._template, prefix="payments"))
        self._in_use[kept.name] = kept
        return kept.name

    def give_back(self, name: str) -> None:
        """Empty a database for a later test, or drop it and close its connections."""
        kept = self._in_use.pop(name)
        kept.uses += 1
        if kept.uses < MOST_USES and not self._idle and self._emptied(kept):
            self._idle.append(kept)
        else:
            self._drop(kept)

    def close(self) -> None:
        """Drop the databases that no test uses."""
        while self._idle:
            self._drop(self._idle.pop())

    def _still_empty(self) -> _Kept | None:
        """Return an idle database that nothing has used since it was emptied, or None. Drop the others."""
        while self._idle:
            kept = self._idle.pop()
            with suppress(psycopg2.Error):  # the test has restarted the server
                if _state(kept, self._longest_exit) == _State(0, changed=False, filled=[]):
                    return kept
            self._drop(kept)
        return None

    def _emptied(self, kept: _Kept) -> bool:
        """Empty the tables, and return whether the database is in its initial state."""
        try:
            if kept.session is None:
                kept.session = self._session(kept.name)
            state = _state(kept, self._longest_exit)
            if state.sessions or state.changed:
                return False
            with kept.session.cursor() as cursor:
                if state.filled:
                    tables = ", ".join(state.filled)
                    cursor.execute(f"TRUNCATE {tables} CASCADE; SELECT pg_stat_force_next_flush()")
                cursor.execute("SELECT pg_stat_reset()")
        except psycopg2.Error:  # the test has restarted the server, or ended this session
            return False
        return True

    def _session(self, name: str) -> psycopg2.extensions.connection:
        session = psycopg2.connect(
            self._postgres.url(name),
            application_name="kept database",
            options="-c lock_timeout=1s -c default_transaction_read_only=off",
        )
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(_STATE)
        return session

    def _drop(self, kept: _Kept) -> None:
        if kept.session is not None:
            kept.session.close()
        self._clones.drop(kept.name)


def _state(kept: _Kept, longest_exit: float) -> _State:
    """Return a database's state when all other sessions have ended, or after ``longest_exit`` seconds."""
    assert kept.session is not None
    deadline = time.monotonic() + longest_exit
    with kept.session.cursor() as cursor:
        while True:
            cursor.execute("EXECUTE state")
            state = _State(*cursor.fetchone())
            if state.sessions == 0 or time.monotonic() > deadline:
                return state
            time.sleep(0.002)
