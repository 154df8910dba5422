"""Measure Debezium on Kafka Connect, configured by ``payctl cdc config``: ``python -m benchmarks.debezium ROWS``.

The connector is already running when a transaction with a burst of events commits. The script measures the time from
this commit until Kafka has appended the last message. The script prints a line of JSON in the same format as the
contenders. Memory and CPU time are measured for the Java process.
"""

from __future__ import annotations

import json
import re
import sys
import time
from os import environ
from pathlib import Path

from benchmarks.brokers import Broker
from benchmarks.processes import cpu_of
from tests.servers.kafka_connect import KafkaConnect
from tests.servers.kafka_connect.outbox_connector import (
    create_publication,
    outbox_connector,
    slot_is_active,
)
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

_WARM_UP = 5000


def main() -> None:
    """Measure one burst of events with a new connector."""
    rows = int(sys.argv[1])
    url, broker = environ["DATABASE_URL"], Broker("Apache Kafka", environ["KAFKA_BROKERS"], 0)
    engine = make_engine(DatabaseSettings(Secret(url)))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP PUBLICATION IF EXISTS payctl_outbox")
        create_publication(connection)
    try:
        with KafkaConnect(broker.bootstrap, outbox_connector(url)) as worker:
            with engine.connect() as connection:
                wait_until(lambda: slot_is_active(connection), what="Debezium reads the log", timeout=60, pause=0.05)
            before = broker.messages()
            with engine.begin() as connection:
                insert_events(connection, _WARM_UP)
            wait_until(
                lambda: broker.messages() - before >= _WARM_UP, what="the warm-up arrived", timeout=120, pause=0.05
            )
            pid = worker.pid or 0
            before, cpu = broker.messages(), cpu_of(pid)
            with engine.begin() as connection:
                insert_events(connection, rows)
            began = time.perf_counter()
            wait_until(lambda: broker.messages() - before >= rows, what="the burst arrived", timeout=600, pause=0.05)
            seconds, cpu = time.perf_counter() - began, cpu_of(pid) - cpu
            memory = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    finally:
        with engine.begin() as connection:
            wait_until(lambda: not slot_is_active(connection), what="the slot is free", timeout=30, pause=0.1)
            connection.exec_driver_sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        engine.dispose()
    rss = int(memory.group(1)) / 1024 if memory else None
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu_s": cpu, "events": rows, "rss_mib": rss}) + "\n")


if __name__ == "__main__":
    main()
