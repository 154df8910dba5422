"""Write events at noon, and read them in a transaction that is rolled back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.store.outbox.claim import Claim

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone
ALL = Claim(after=START, limit=100, max_retries=5)


@pytest.fixture
def add(engine):
    """Return a function that inserts a row with a creation time of ``second`` seconds after noon.

    It returns the row's id.
    """

    def insert(id_, second=0.0, key=None, **columns):
        values = {
            "id": id_,
            "aggregateId": key or f"key of {id_}",
            "aggregateType": "payment",
            "eventType": "PAYMENT_COMPLETED",
            "payload": json.dumps(columns.pop("payload", {})),
            "createdAt": NOON + timedelta(seconds=second),
            **columns,
        }
        names = ", ".join(f'"{name}"' for name in values)
        places = ", ".join(f"%({name})s" for name in values)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO outbox ({names}) VALUES ({places})", values)  # noqa: S608
        return id_

    return insert


@pytest.fixture
def connection(engine):
    """Yield a connection whose transaction is rolled back after the test."""
    with engine.connect() as connection:
        yield connection


def ids(claimed):
    """Return the ids of the claimed events, in the order in which they were claimed."""
    return [event.id for event in claimed.events]
