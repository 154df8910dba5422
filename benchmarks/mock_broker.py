"""Run the mock broker. Print its address, and stop it when stdin is closed."""

from __future__ import annotations

import sys

from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka

if __name__ == "__main__":
    with MockKafka() as broker:
        for topic in TOPICS.values():
            broker.create_topic(topic)
        sys.stdout.write(f"{broker.bootstrap}\n")
        sys.stdout.flush()
        sys.stdin.read()
