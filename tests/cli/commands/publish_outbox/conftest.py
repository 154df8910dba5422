"""Provide the services for the tests of `payctl publish-outbox`, and events in every state."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

NOBODY = "127.0.0.1:1"


@pytest.fixture
def places(database_url, mock_kafka):
    """Return the settings for the test's database and the mock cluster."""
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


@pytest.fixture
def add(engine):
    """Return a function that inserts an event for a payment and returns the event's id."""

    def write(
        key, *, retry_count=0, age=60, event_type="PAYMENT_COMPLETED", last_error=None, payload_bytes=0, **payload
    ):
        id_ = str(uuid4())
        values = {"id": id_, "key": key, "type": event_type, "retry": retry_count, "age": age, "error": last_error}
        values["payload"] = json.dumps({"padding": "x" * payload_bytes, **payload})
        with engine.begin() as connection:
            connection.exec_driver_sql(
                """
                INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt", "retryCount",
                    published, "lastError")
                VALUES (%(id)s, %(key)s, 'payment', %(type)s, %(payload)s, clock_timestamp() AT TIME ZONE 'UTC'
                    - make_interval(secs => %(age)s), %(retry)s, false, %(error)s)
                """,
                values,
            )
        return id_

    return write


def blocked(add):
    """Insert a dead event, an event behind it, and an event that can be published."""
    add("k", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    add("k", age=50)
    add("other")
