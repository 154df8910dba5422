"""Read Debezium's publication and slot, and tell payctl's events from Debezium's events.

A slot begins at a position in the write-ahead log. Debezium sends the events of transactions that commit after this
position, and payctl sends the earlier events. Timestamps or ids cannot separate these two groups, but a new slot's
snapshot can.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from threading import Timer
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extras import LogicalReplicationConnection
from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError, GuardError
from ticketbottle_payctl.store.db import driver
from ticketbottle_payctl.store.db.engine import Limits, connection_parameters, transaction
from ticketbottle_payctl.store.db.owner_time import NOW
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.debezium_names import PUBLICATION, SLOT

_PRIVILEGE, _EXISTS, _NOT_LOGICAL, _CANCELED = "42501", "42710", "55000", "57014"
_NO_REPLICATION = ("must be superuser or replication role", "permission denied to start WAL sender")
"""PostgreSQL's error texts if the role lacks the REPLICATION attribute: up to version 15, and from version 16 on.

These errors do not have a code.
"""


class SlotState(NamedTuple):
    """A replication slot. ``active`` is true if a connector reads from it."""

    active: bool


class Pending(NamedTuple):
    """A pending event and its payment."""

    id: str
    aggregate_id: str


class Marked(NamedTuple):
    """An event that is in Kafka, and the timestamp of its record (UTC, without a zone, as in the column)."""

    id: str
    at: datetime


def publishes_inserts(connection: Connection) -> bool:
    """Return whether Debezium's publication exists, contains the outbox, and publishes only inserts."""
    sql = """
        SELECT p.pubinsert AND NOT (p.pubupdate OR p.pubdelete OR p.pubtruncate)
        FROM pg_publication AS p JOIN pg_publication_rel AS r ON r.prpubid = p.oid
        WHERE p.pubname = %(name)s AND r.prrelid = 'outbox'::regclass
    """
    return bool(connection.exec_driver_sql(sql, {"name": PUBLICATION}).scalar_one_or_none())


def slot(connection: Connection) -> SlotState | None:
    """Return Debezium's slot in this database, or None if the slot does not exist."""
    sql = """
        SELECT active FROM pg_replication_slots
        WHERE slot_name = %(name)s AND database = current_database()
    """
    row = connection.exec_driver_sql(sql, {"name": SLOT}).one_or_none()
    return None if row is None else SlotState(*row)


def refuse_while_debezium_publishes(connection: Connection) -> None:
    """Raise an error if Debezium is the publisher. A second publisher would send every event twice.

    Raises:
        GuardError: the slot exists.
    """
    if slot(connection) is not None:
        message = f"Debezium is publishing this outbox (replication slot {SLOT})"
        raise GuardError(message, hint="run `payctl cdc cut-back` to take it back")


def table_name(connection: Connection) -> str:
    """Return the outbox's quoted name with its schema, for a connection with a different search path."""
    sql = """
        SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = 'outbox'::regclass
    """
    return str(connection.exec_driver_sql(sql).scalar_one())


def make_slot(engine: Engine, table: str, max_retries: int, *, limit: int, patience: timedelta) -> list[Pending]:
    """Create the slot. Return the events that were pending when the slot was created, at most ``limit``, oldest first.

    This call waits until all transactions that are writing now have ended, but does not block other sessions.

    Raises:
        GuardError: the slot already exists.
        ConfigError: ``wal_level`` is not logical, or the role lacks the REPLICATION attribute.
        DatabaseUnavailableError: a writing transaction did not end within ``patience``, or the server cannot be
            reached.
    """
    sql = f"""
        SELECT id, "aggregateId" FROM {table} WHERE {states.pending()}
        ORDER BY "createdAt", id COLLATE "C" LIMIT %(limit)s
    """  # noqa: S608 - the name is quoted by the server
    try:
        with closing(_replication_connection(engine)) as connection, connection.cursor() as cursor:
            waiting = Timer(patience.total_seconds(), connection.cancel)
            waiting.start()
            try:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute(f"CREATE_REPLICATION_SLOT {SLOT} LOGICAL pgoutput USE_SNAPSHOT")
                cursor.execute(sql, {"max_retries": max_retries, "limit": limit})
                pending = [Pending(*row) for row in cursor.fetchall()]
                cursor.execute("COMMIT")
            finally:
                waiting.cancel()
    except psycopg2.Error as error:
        raise _translated(error) from error
    return pending


def drop_slot(engine: Engine, limits: Limits) -> None:
    """Drop the slot, so that the server can remove old log files. If the slot does not exist, do nothing.

    Raises:
        GuardError: a connector reads from the slot.
    """
    with transaction(engine, limits) as connection:
        state = slot(connection)
        if state is not None and state.active:
            message = "a connector reads from the slot"
            raise GuardError(message, hint="stop the connector first")
        if state is not None:
            connection.exec_driver_sql("SELECT pg_drop_replication_slot(%(name)s)", {"name": SLOT})


def waiting_behind_dead(connection: Connection, max_retries: int) -> int:
    """Count pending events that come after a dead event of the same payment."""
    sql = f"""
        SELECT count(*) FROM outbox AS o WHERE {states.pending("o.")} AND EXISTS (
            SELECT FROM outbox AS d WHERE {states.dead("d.")}
              AND d."aggregateId" = o."aggregateId"
              AND (d."createdAt", d.id COLLATE "C") < (o."createdAt", o.id COLLATE "C"))
    """  # noqa: S608 - built from constants only
    return int(connection.exec_driver_sql(sql, {"max_retries": max_retries}).scalar_one())


def count_pending(connection: Connection, max_retries: int) -> int:
    """Count pending events."""
    sql = f"SELECT count(*) FROM outbox WHERE {states.pending()}"  # noqa: S608
    return int(connection.exec_driver_sql(sql, {"max_retries": max_retries}).scalar_one())


def claim_these(connection: Connection, ids: Sequence[str]) -> list[OutboxEvent]:
    """Claim and mark these events as a publisher does, oldest first. Skip published events."""
    sql = f"""
        UPDATE outbox AS o SET published = true, "publishedAt" = {NOW}
        WHERE o.id = ANY(%(ids)s) AND {states.unpublished("o.")}
        RETURNING o.id, o."aggregateId", o."aggregateType", o."eventType", o.payload::text, o."createdAt",
            o."retryCount",
            (SELECT ARRAY[x.correlation_id, x.traceparent, x.replay_run_id]
             FROM payctl.event_context AS x WHERE x.event_id = o.id)
    """  # noqa: S608 - built from constants only
    rows = [OutboxEvent(*row) for row in connection.exec_driver_sql(sql, {"ids": list(ids)})]
    return sorted(rows, key=lambda event: event.position)


def mark_published(connection: Connection, sent: Sequence[Marked]) -> int:
    """Mark events that are in Kafka as published. Return how many of them were unpublished until then."""
    sql = f"""
        UPDATE outbox AS o SET published = true, "publishedAt" = s.at
        FROM unnest(%(ids)s::text[], %(at)s::timestamp[]) AS s (id, at) WHERE o.id = s.id AND {states.unpublished("o.")}
    """  # noqa: S608 - built from constants only
    return connection.exec_driver_sql(sql, {"ids": [one.id for one in sent], "at": [one.at for one in sent]}).rowcount


def mark_dead(connection: Connection, ids: Sequence[str], max_retries: int, error: str) -> int:
    """Mark the pending events among ``ids`` as dead. Return how many were marked.

    Debezium sent these events to a topic that no consumer reads.
    """
    sql = f"""
        UPDATE outbox SET "retryCount" = %(max_retries)s, "lastError" = %(error)s
        WHERE id = ANY(%(ids)s) AND {states.pending()}
    """  # noqa: S608 - built from constants only
    return connection.exec_driver_sql(sql, {"ids": list(ids), "max_retries": max_retries, "error": error}).rowcount


def _replication_connection(engine: Engine) -> Any:  # noqa: ANN401 - the driver has no types
    parameters = connection_parameters(engine)
    with driver.redacted(parameters):
        return psycopg2.connect(**parameters, connection_factory=LogicalReplicationConnection)


def _translated(error: psycopg2.Error) -> Exception:
    text = str(error).strip().partition("\n")[0]
    match error.pgcode:
        case code if code == _EXISTS:
            message = f"replication slot {SLOT} already exists: Debezium is publishing, or a cut-over was interrupted"
            return GuardError(
                message,
                hint="if no connector was ever started, drop the slot in psql",
                sql=f"SELECT pg_drop_replication_slot('{SLOT}')",
            )
        case code if code == _NOT_LOGICAL:
            return ConfigError(
                f"the slot cannot be created: {text}", hint="set wal_level = logical and restart PostgreSQL"
            )
        case code if code == _PRIVILEGE or any(words in text for words in _NO_REPLICATION):
            return ConfigError(
                f"the database role is not allowed to replicate: {text}",
                hint="run the SQL that `payctl cdc config` prints",
            )
        case code if code == _CANCELED:
            message = "a transaction has been writing for too long; the slot can be created only after it ends"
            return DatabaseUnavailableError(message, hint="find it in pg_stat_activity, then try again")
    return DatabaseUnavailableError(f"PostgreSQL is not available: {text}", hint="check the server, then try again")
