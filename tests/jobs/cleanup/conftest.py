"""Fixtures that run a cleanup and count the remaining events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.jobs.cleanup import cleanup

WEEK = timedelta(days=7)


@pytest.fixture
def clean(engine):
    """Return a function that runs a cleanup with the given options. By default, the retention is one week."""

    def run(**options):
        return cleanup(engine, **{"retention": WEEK, "max_retries": 5, **options})

    return run


@pytest.fixture
def scalar(engine):
    """Return a function that runs a query and returns its only value."""

    def run(sql):
        with engine.connect() as connection:
            return connection.exec_driver_sql(sql).scalar_one()

    return run


@pytest.fixture
def events(scalar):
    """Return a function that returns the number of events."""
    return lambda: scalar("SELECT count(*) FROM outbox")
