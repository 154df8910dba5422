"""Simulate the payment service in a soak, with threads that commit outbox rows for their own payments."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from threading import Event, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.checker import TOPIC_OF

INSERT = """
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt")
    VALUES (%(id)s, %(key)s, 'payment', %(type)s, %(payload)s, clock_timestamp() AT TIME ZONE 'UTC')
"""
STRANGE = "PAYMENT_STRANGE"
"""An event type without a topic. Such an event is dead after its first try and blocks its payment's later events."""

STRANGE_SHARE = 0.005

CORRECT = f"""
    UPDATE outbox SET "eventType" = 'PAYMENT_COMPLETED' WHERE "eventType" = '{STRANGE}' AND "retryCount" >= 5
"""  # noqa: S608 - the SQL is a constant
"""The SQL that gives dead events without a topic a known type.

The payment service's team runs this SQL before a replay.
"""


class Writer(Thread):
    """A thread that commits events for its own payments until ``stop`` is set. A few events have no topic."""

    def __init__(self, engine: Engine, number: int, seed: int, rate: float, stop: Event) -> None:
        super().__init__(daemon=True)
        self.engine, self.number, self.rate, self.stop = engine, number, rate, stop
        self.chance = random.Random(f"{seed}/writer {number}")  # noqa: S311 - not for secrets
        self.events, self.payments = 0, 0
        self.open: list[str] = []

    def run(self) -> None:
        """Commit events at random intervals. If the database is unavailable, try again, as the payment service does."""
        while not self.stop.wait(self.chance.expovariate(self.rate / 2)):
            with suppress(DBAPIError):
                self._commit(self.chance.choice((1, 1, 2, 4)))

    def _commit(self, events: int) -> None:
        late = self.chance.uniform(0.1, 1.5) if self.chance.random() < 0.01 else 0.0
        with self.engine.begin() as connection:
            for _ in range(events):
                connection.exec_driver_sql(INSERT, self._event())
            self.stop.wait(late)

    def _event(self) -> dict[str, object]:
        """Return the next event of a payment with earlier events, or the first event of a new payment."""
        if self.open and self.chance.random() < 0.4:
            key = self.chance.choice(self.open)
        else:
            self.payments += 1
            key = f"{self.number}-{self.payments}"
            self.open = [*self.open[-20:], key]
        self.events += 1
        payload = json.dumps({"payment_id": key, "padding": "x" * self.chance.randrange(300)})
        return {
            "id": f"{self.number}-{self.events:09d}",
            "key": key,
            "type": STRANGE if self.chance.random() < STRANGE_SHARE else self.chance.choice(tuple(TOPIC_OF)),
            "payload": payload,
        }
