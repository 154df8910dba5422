"""Provide half-marked rows to repair, and profiles with different guards."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ticketbottle_payctl.sandbox.payment_service import insert_events

ROWS = 12
CONFIG = """
[profiles.dev]
[profiles.prod.guard]
protected = true
[profiles.archive.guard]
read_only = true
[profiles.small.guard]
max_affected = 5
"""
REPAIR = ["doctor", "--fix-published-flags"]


@pytest.fixture
def half_marked(engine, database_url, tmp_path):
    """Insert 12 half-marked rows, and write profiles with different guards. Return the environment for payctl."""
    with engine.begin() as connection:
        insert_events(connection, ROWS, state="sent_unmarked")
    file = tmp_path / "config.toml"
    file.write_text(CONFIG, "utf-8")
    return {"DATABASE_URL": database_url, "PAYCTL_CONFIG": str(file)}


@pytest.fixture
def left(engine):
    """Return a function that returns the count of half-marked rows."""

    def count():
        with engine.begin() as connection:
            return connection.execute(
                text('SELECT count(*) FROM outbox WHERE NOT published AND "publishedAt" IS NOT NULL')
            ).scalar_one()

    return count
