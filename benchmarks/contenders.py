"""What drains an outbox, each in a process of its own: ``python -m benchmarks.contenders NAME ROWS BATCH``.

The first four are limits: the database's share of the work without a broker, and the broker's without a database.
``DATABASE_URL`` and ``KAFKA_BROKERS`` say where. Prints one line of JSON: seconds and CPU seconds without the start of
the interpreter, events done.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from os import environ
from pathlib import Path
from typing import Any

import psycopg2

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import OutboxEvent, to_message
from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.store.engine import make_engine

# The claim's own conditions and order; the plan is forced as the publisher forces it.
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
_BEGINNING = (datetime(1970, 1, 1), "")  # noqa: DTZ001 - the owner's columns have no zone

Rows = list[tuple[Any, ...]]


def serial(_rows: int, batch: int) -> int:
    """Read a batch, mark it by id, commit; one connection."""
    connection = _connect()
    done, after = 0, _BEGINNING
    while rows := _read(connection, after, batch):
        _mark(connection, _BY_ID, _ID, rows)
        done, after = done + len(rows), (rows[-1][_CREATED_AT], rows[-1][_ID])
    return done


def overlapped_by_id(_rows: int, batch: int) -> int:
    """One connection reads the next batch while another marks this one by id and commits."""
    return _overlapped(batch, _BY_ID, _ID)


def overlapped_by_ctid(_rows: int, batch: int) -> int:
    """As before, marked by the place of the row."""
    return _overlapped(batch, _BY_CTID, _CTID)


def producer(rows: int, batch: int) -> int:
    """Send messages of rows that are in memory, with payctl's producer; wait for each batch."""
    messages = [to_message(_event(number)) for number in range(batch)]
    client = Producer(producer_config(Settings.from_env(environ).kafka))
    client.probe(10)
    for _ in range(rows // batch):
        if client.send(messages, 30):
            raise SystemExit(1)
    client.close()
    return rows // batch * batch


def payctl(_rows: int, batch: int) -> int:
    """The job behind ``payctl publish-outbox``, from connecting to the report."""
    settings = Settings.from_env(environ)
    engine = make_engine(settings.database)
    client = Producer(producer_config(settings.kafka))
    report = publish_outbox(engine, client, PublishOptions(batch_size=batch))
    client.close()
    engine.dispose()
    return report.tally.published


def payctl_beside_cleanup(rows: int, batch: int) -> int:
    """The same while ``cleanup`` deletes what was published more than a day ago."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.contenders", "cleanup", "0", "0"], stdout=sys.stderr
    ) as other:
        done = payctl(rows, batch)
        other.terminate()
    return done


def clean_up(_rows: int, _batch: int) -> int:
    """The job behind ``payctl cleanup``."""
    engine = make_engine(Settings.from_env(environ).database)
    return cleanup(engine, retention=timedelta(days=1), max_retries=5).deleted


CONTENDERS: dict[str, Callable[[int, int], int]] = {
    "serial": serial,
    "overlapped-by-id": overlapped_by_id,
    "overlapped-by-ctid": overlapped_by_ctid,
    "producer": producer,
    "payctl": payctl,
    "payctl-beside-cleanup": payctl_beside_cleanup,
    "cleanup": clean_up,
}


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


def _highest_memory() -> float | None:
    """MiB, since this program began; what wait4 says of a child begins with its parent's memory."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found.group(1)) / 1024 if found else None


def _event(number: int) -> OutboxEvent:
    name = f"00000000-0000-4000-8000-{number:012d}"
    return OutboxEvent(name, name, "payment", "PAYMENT_COMPLETED", f'{{"padding": "{"x" * 284}"}}', _BEGINNING[0], 0)


def main() -> None:
    """Do one contender's work and tell what it took."""
    name, rows, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cpu, began = time.process_time(), time.perf_counter()
    events = CONTENDERS[name](rows, batch)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    sys.stdout.write(
        json.dumps({"seconds": seconds, "cpu_s": cpu, "events": events, "rss_mib": _highest_memory()}) + "\n"
    )


if __name__ == "__main__":
    main()
