"""Fixtures that run a cleanup and count the events that it leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.jobs.cleanup import cleanup

WEEK = timedelta(days=7)


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
