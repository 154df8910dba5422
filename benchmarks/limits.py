"""Measure the upper limits for a drain's speed: with only a database, and with only a broker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from os import environ
from typing import Any

import psycopg2

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import OutboxEvent, to_message
from ticketbottle_payctl.settings import Settings

# The conditions and the order are the same as in a claim. The plan is forced in the same way as in the publisher.
_PLAN = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off"
_READ = """
    SELECT ctid, id, "aggregateId", "aggregateType", "eventType", payload::text, "createdAt", "retryCount" FROM outbox
    WHERE published = false AND "publishedAt" IS NULL AND "retryCount" < 5 AND "createdAt" >= %(at)s
      AND ("createdAt", id COLLATE "C") > (%(at)s, %(id)s)
    ORDER BY "createdAt", id COLLATE "C" LIMIT %(limit)s
"""
_MARK = """UPDATE outbox SET published = true, "publishedAt" = clock_timestamp() AT TIME ZONE 'UTC' WHERE """
_BY_ID = _MARK + "id = ANY(%s)"
_BY_CTID = _MARK + "ctid = ANY(%s::tid[])"
_CREATED_AT, _ID, _CTID = 6, 1, 0
_BEGINNING = (datetime(1970, 1, 1), "")  # noqa: DTZ001 - the payment service's columns have no zone

Rows = list[tuple[Any, ...]]


def serial(_rows: int, batch: int) -> int:
    """Read a batch, mark it by id, and commit, all on one connection."""
    connection = _connect()
    done, after = 0, _BEGINNING
    while rows := _read(connection, after, batch):
        _mark(connection, _BY_ID, _ID, rows)
        done, after = done + len(rows), (rows[-1][_CREATED_AT], rows[-1][_ID])
    return done


def overlapped_by_id(_rows: int, batch: int) -> int:
    """Read the next batch on one connection while another connection marks the current batch by id and commits it."""
    return _overlapped(batch, _BY_ID, _ID)


def overlapped_by_ctid(_rows: int, batch: int) -> int:
    """Read and mark batches as :func:`overlapped_by_id` does, but mark rows by ctid."""
    return _overlapped(batch, _BY_CTID, _CTID)


def producer(rows: int, batch: int) -> int:
    """Send messages from memory with payctl's producer. Wait until each batch is acknowledged."""
    messages = [to_message(_event(number)) for number in range(batch)]
    client = Producer(producer_config(Settings.from_env(environ).kafka))
    client.probe(10)
    for _ in range(rows // batch):
        if client.send(messages, 30):
            raise SystemExit(1)
    client.close()
    return rows // batch * batch


def _overlapped(batch: int, statement: str, column: int) -> int:
    reader, marker = _connect(), _connect()
    done = 0
    with ThreadPoolExecutor(1) as pool:
        rows = _read(reader, _BEGINNING, batch)
        while rows:
            coming = pool.submit(_read, reader, (rows[-1][_CREATED_AT], rows[-1][_ID]), batch)
            _mark(marker, statement, column, rows)
            done += len(rows)
            rows = coming.result()
            reader.commit()
    return done


def _connect() -> Any:  # noqa: ANN401 - the driver has no types
    connection = psycopg2.connect(environ["DATABASE_URL"])
    with connection.cursor() as cursor:
        cursor.execute(_PLAN)
    connection.commit()
    return connection


def _read(connection: Any, after: tuple[datetime, str], batch: int) -> Rows:  # noqa: ANN401
    with connection.cursor() as cursor:
        cursor.execute(_READ, {"at": after[0], "id": after[1], "limit": batch})
        rows: Rows = cursor.fetchall()
        return rows


def _mark(connection: Any, statement: str, column: int, rows: Rows) -> None:  # noqa: ANN401
    with connection.cursor() as cursor:
        cursor.execute(statement, ([row[column] for row in rows],))
    connection.commit()


def _event(number: int) -> OutboxEvent:
    name = f"00000000-0000-4000-8000-{number:012d}"
    return OutboxEvent(name, name, "payment", "PAYMENT_COMPLETED", f'{{"padding": "{"x" * 284}"}}', _BEGINNING[0], 0)
