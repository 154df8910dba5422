"""A backlog of every kind, and what is left of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.sandbox.payment_service import insert_events

WEEK = timedelta(days=7)


@pytest.fixture
def insert(engine):
    """``insert(3, state="dead", age=...)``: that many events."""

    def run(count, **options):
        with engine.begin() as connection:
            insert_events(connection, count, payload_bytes=0, **options)

    return run


@pytest.fixture
def clean(engine):
    """``clean(batch_size=2)``: a clean-up with a retention of a week."""

    def run(**options):
        return cleanup(engine, **{"retention": WEEK, "max_retries": 5, **options})

    return run


@pytest.fixture
def scalar(engine):
    """``scalar(sql)``: its one value."""

    def run(sql):
        with engine.connect() as connection:
            return connection.exec_driver_sql(sql).scalar_one()

    return run


@pytest.fixture
def events(scalar):
    """``events()``: how many there are."""
    return lambda: scalar("SELECT count(*) FROM outbox")
