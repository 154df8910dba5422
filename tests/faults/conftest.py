"""Fixtures for PgBouncer, and for a shop whose database has the checker's audit tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.checker import audit
from tests.faults.shop import Shop
from tests.servers.pgbouncer import PgBouncer
from ticketbottle_payctl.sandbox.callbacks import environment


@pytest.fixture
def shop(engine, database_url, payctl_command, tmp_path) -> Iterator[Shop]:
    """Yield a shop that uses the test's database. Restore the logging after the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    audit.install(engine)
    variables = {**environment(), "HOME": str(tmp_path), "DATABASE_URL": database_url}
    yield Shop(engine, payctl_command, variables)
    root.handlers[:], root.level = before


@pytest.fixture
def pooler(made, database_url) -> Iterator[Callable[..., PgBouncer]]:
    """Yield a function that starts PgBouncer in front of the test's database.

    ``pooler(3, name="value")`` takes the pool size and PgBouncer's settings.
    """
    started: list[PgBouncer] = []

    def start(size: int, **settings: str) -> PgBouncer:
        started.append(made(lambda: PgBouncer(database_url, size=size, settings=settings)))
        return started[-1]

    yield start
    for one in started:
        one.close()
