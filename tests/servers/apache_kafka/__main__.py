"""Run one node of Apache Kafka in the foreground until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading

from tests.servers.apache_kafka import ApacheKafka
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import PayctlError


def main() -> int:
    """Start a node with the three topics, print a line with the variables to export, and wait for a signal."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with ApacheKafka() as kafka:
            kafka.recreate_topics(TOPICS.values())
            sys.stdout.write(f"export KAFKA_BROKERS={kafka.bootstrap}\n")
            sys.stdout.flush()
            sys.stderr.write(f"{kafka} is up with {', '.join(TOPICS.values())}; Ctrl-C stops it and removes its data\n")
            stopped.wait()
    except PayctlError as error:
        sys.stderr.write(f"{error.message}\n{error.hint or ''}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
