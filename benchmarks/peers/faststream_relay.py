"""Publish with faststream-outbox and its Confluent broker, using the settings from its documentation.

With the argument ``create``, the script creates the table. With ``fill N``, it writes N events that are as large as
payctl's, and with ``run N`` it sends N events. ``DATABASE_URL`` and ``KAFKA_BROKERS`` specify the servers. The script
needs only the packages in requirements-faststream-outbox.txt.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from os import environ
from pathlib import Path

from faststream.confluent import KafkaBroker  # type: ignore[import-not-found]
from faststream_outbox import OutboxBroker, make_outbox_table  # type: ignore[import-not-found]
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

TABLE = "faststream_outbox"
QUEUE = "payments"
_TOPIC = "payment.completed"
_WORKERS = 16
_FETCH = 500
_FLUSH = 100
_FILL = text(f"""
    INSERT INTO {TABLE} (queue, payload, headers)
    SELECT :queue, convert_to(json_build_object('padding', repeat('x', 284))::text, 'UTF8'),
        jsonb_build_object('content-type', 'application/json', 'correlation_id', gen_random_uuid()::text)
    FROM generate_series(1, :count)
""")  # noqa: S608 - a constant

metadata = MetaData()
table = make_outbox_table(metadata, table_name=TABLE)


def engine() -> AsyncEngine:
    """Return an engine with asyncpg, the driver that faststream-outbox's documentation recommends."""
    return create_async_engine(
        environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=_WORKERS + 4
    )


async def create() -> None:
    """Create an empty outbox table."""
    async with engine().begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)


async def fill(count: int) -> None:
    """Empty the outbox table and write ``count`` events."""
    async with engine().begin() as connection:
        await connection.execute(text(f"TRUNCATE {TABLE}"))
        await connection.execute(_FILL, {"queue": QUEUE, "count": count})


async def run(count: int) -> int:
    """Relay events until ``count`` events have been sent to Kafka and acknowledged."""
    outbox = OutboxBroker(engine(), outbox_table=table, logger=None)
    kafka = KafkaBroker(environ["KAFKA_BROKERS"], acks="all", enable_idempotence=True, linger_ms=5, logger=None)
    publisher = kafka.publisher(_TOPIC)
    done, finished = 0, asyncio.Event()

    @outbox.subscriber(  # type: ignore[untyped-decorator]
        QUEUE, max_workers=_WORKERS, fetch_batch_size=_FETCH, terminal_flush_batch_size=_FLUSH,
        min_fetch_interval=0.01, max_fetch_interval=0.1,
    )  # fmt: skip
    async def relay(body: dict[str, str]) -> None:
        nonlocal done
        await publisher.publish(body, key=str(done).encode())
        done += 1
        if done >= count:
            finished.set()

    await kafka.start()
    await outbox.start()
    await finished.wait()
    await outbox.stop()
    await kafka.stop()
    return done


def main() -> None:
    """Perform the action in the first argument."""
    if sys.argv[1] == "create":
        asyncio.run(create())
        return
    if sys.argv[1] == "fill":
        asyncio.run(fill(int(sys.argv[2])))
        return
    cpu, began = time.process_time(), time.perf_counter()
    events = asyncio.run(run(int(sys.argv[2])))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    status = Path("/proc/self/status")
    memory = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    rss = int(memory.group(1)) / 1024 if memory else None
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu_s": cpu, "events": events, "rss_mib": rss}) + "\n")


if __name__ == "__main__":
    main()
