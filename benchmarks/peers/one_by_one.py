"""Publish events as the old service does, with one send, one wait, one UPDATE and one commit for each event.

``DATABASE_URL`` and ``KAFKA_BROKERS`` specify the servers. The argument is the number of events. The script needs only
the packages in requirements-one-by-one.txt.
"""

from __future__ import annotations

import json
import re
import sys
import time
from os import environ
from pathlib import Path

import psycopg2
from confluent_kafka import KafkaError, Message, Producer

TOPICS = {
    "PAYMENT_COMPLETED": "payment.completed",
    "PAYMENT_FAILED": "payment.failed",
    "PAYMENT_CANCELLED": "payment.cancelled",
}
_PAGE = 100
_READ = """
    SELECT id, "aggregateId", "eventType", payload::text FROM outbox
    WHERE published = false ORDER BY "createdAt" LIMIT %s
"""
_MARK = """UPDATE outbox SET published = true, "publishedAt" = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = %s"""


def publish(limit: int) -> int:
    """Send events one by one. Each event is acknowledged and marked before the next event is sent."""
    producer = Producer(
        {"bootstrap.servers": environ["KAFKA_BROKERS"], "acks": "all", "enable.idempotence": True, "linger.ms": 0}
    )
    connection = psycopg2.connect(environ["DATABASE_URL"])
    done = 0
    with connection.cursor() as cursor:
        while done < limit:
            cursor.execute(_READ, (min(_PAGE, limit - done),))
            for event_id, key, kind, payload in cursor.fetchall():
                producer.produce(
                    TOPICS[kind], value=payload, key=key, headers={"eventId": event_id}, on_delivery=_delivered
                )
                producer.flush(30)
                cursor.execute(_MARK, (event_id,))
                connection.commit()
                done += 1
    connection.close()
    return done


def _delivered(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        raise SystemExit(str(error))


def main() -> None:
    """Publish the events, and print the time, CPU time and memory."""
    cpu, began = time.process_time(), time.perf_counter()
    events = publish(int(sys.argv[1]))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    status = Path("/proc/self/status")
    memory = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    rss = int(memory.group(1)) / 1024 if memory else None
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu_s": cpu, "events": events, "rss_mib": rss}) + "\n")


if __name__ == "__main__":
    main()
