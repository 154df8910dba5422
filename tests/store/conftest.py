"""Fixtures for orders whose callbacks arrive at, before or after noon of a day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.cli.commands.show.conftest import Orders

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
_CLOSING = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, after)
    VALUES (gen_random_uuid(), 0, 0, %s, %s, jsonb_build_object('until', %s::timestamptz))"""
_CLOCK = """CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT %s::timestamptz; END"""


@pytest.fixture
def reader(engine):
    """Yield a connection that reads the database."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def pay(engine):
    """Return a function that inserts a payment and returns a writer of its rows."""
    return lambda status="FAILED", **more: Orders(engine).pay(status, **more)


@pytest.fixture
def call(engine):
    """Return a function that inserts a callback, which arrives ``after`` noon.

    Unless other values are given, the callback is refused and reports money.
    """

    def run(orders, after, **more):
        more = {"result": "refused", "reason": "late", "number": str(len(orders.receipts)), **more}
        orders.callback(more.pop("outcome", "COMPLETED"), **more)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE payctl.webhook_receipts SET received_at = %(at)s WHERE id = %(id)s::uuid",
                {"at": NOON + after, "id": orders.receipts[-1]},
            )
        return orders

    return run


@pytest.fixture
def close(engine):
    """Return a function that writes a closing record, which covers everything up to ``after`` noon."""

    def run(subject, after, outcome="closed"):
        with engine.begin() as connection:
            connection.exec_driver_sql(_CLOSING, (subject, outcome, NOON + after))

    return run


@pytest.fixture
def at_noon(engine):
    """Yield a connection on which the database's clock always says noon."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_CLOCK, (NOON,))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET search_path = public, pg_catalog")  # by default, pg_catalog is first
        yield connection
