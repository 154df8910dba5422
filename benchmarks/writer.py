"""Commit events one by one at a steady rate: ``python -m benchmarks.writer EVENTS_A_SECOND SECONDS``.

The events from the first two seconds are not counted, because an idle publisher may need that long to notice new
events. The script prints a JSON object. For each event id, it contains the time when the commit returned, in seconds
since 1970. The commits do not wait for the disk, because this benchmark does not measure commits.
"""

from __future__ import annotations

import json
import sys
import time
from os import environ
from uuid import uuid4

import psycopg2

_INSERT = """
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt")
    VALUES (%s, %s, 'payment', 'PAYMENT_COMPLETED', %s, clock_timestamp() AT TIME ZONE 'UTC')
"""
_LEAD_IN = 2.0
_PAYLOAD = json.dumps({"padding": "x" * 284})


def main() -> None:
    """Write the events and print their commit times."""
    rate, seconds = float(sys.argv[1]), float(sys.argv[2])
    connection = psycopg2.connect(environ["DATABASE_URL"])
    connection.autocommit = True
    committed = {}
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        began = time.monotonic() + _LEAD_IN
        for number in range(-int(rate * _LEAD_IN), int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            event_id = str(uuid4())
            cursor.execute(_INSERT, (event_id, str(uuid4()), _PAYLOAD))
            if number >= 0:
                committed[event_id] = time.time()
    sys.stdout.write(json.dumps(committed))


if __name__ == "__main__":
    main()
