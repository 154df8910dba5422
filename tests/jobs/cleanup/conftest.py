"""An outbox with events of every kind, and the number of events that a cleanup leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.sandbox.payment_service import insert_events

WEEK = timedelta(days=7)


@pytest.fixture
def insert(engine):
    """Return ``insert(3, state="dead", age=...)``, which inserts that many events."""

    def run(count, **options):
        with engine.begin() as connection:
            insert_events(connection, count, payload_bytes=0, **options)

    return run


@pytest.fixture
def clean(engine):
    """Return ``clean(batch_size=2)``, which runs a cleanup with a retention of a week."""

    def run(**options):
        return cleanup(engine, **{"retention": WEEK, "max_retries": 5, **options})

    return run


@pytest.fixture
def scalar(engine):
    """Return ``scalar(sql)``, which returns the only value of a query."""

    def run(sql):
        with engine.connect() as connection:
            return connection.exec_driver_sql(sql).scalar_one()

    return run


@pytest.fixture
def events(scalar):
    """Return ``events()``, which returns the number of events."""
    return lambda: scalar("SELECT count(*) FROM outbox")
