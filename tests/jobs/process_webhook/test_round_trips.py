"""Test that a callback needs few round trips, and settles only once if the connection breaks at the commit."""

from __future__ import annotations

import pytest

from tests.wire import Wire
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome
from ticketbottle_payctl.sandbox.callbacks import Scenario
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine


@pytest.fixture
def wire(postgres):
    """Yield a proxy that forwards to the database server."""
    with_ends = Wire(postgres.port)
    yield with_ends
    with_ends.close()


@pytest.fixture(params=[True, False], ids=["pooled", "unpooled"])
def wired(wire, postgres, database_url, request):
    """Yield an engine that connects to the test's database through the proxy."""
    url = database_url.replace(f":{postgres.port}/", f":{wire.port}/")
    engine = make_engine(DatabaseSettings(Secret(url), pooled=request.param))
    yield engine
    engine.dispose()


def words(queries):
    """Return the first word of each query, ignoring the limits that are set before it."""
    return [query.split(";\n")[-1].split()[0] for query in queries]


@pytest.mark.parametrize(
    ("calls", "statements"),
    [
        ([Scenario.PAID], ["SELECT", "WITH", "COMMIT"]),
        ([Scenario.PAID, Scenario.PAID], ["SELECT", "WITH", "COMMIT"]),
        ([Scenario.WRONG_AMOUNT], ["SELECT", "WITH", "COMMIT"]),
        ([Scenario.HELD], ["WITH", "COMMIT"]),
        ([Scenario.BAD_SIGNATURE], []),
    ],
)
def test_a_callback_takes_three_round_trips(shop, wire, wired, calls, statements):
    """A callback takes at most three round trips, including COMMIT, with or without a pool.

    A forged callback takes no round trip.
    """
    shop.process(shop.payment("vnpay"), engine=wired)  # the driver sends a few queries to a new server
    payment = shop.payment("vnpay")
    for scenario in calls:
        wire.queries.clear()
        shop.process(payment, scenario, engine=wired)
    sent = [query for query in wire.queries if query != "ROLLBACK"]
    assert words(sent) == statements
    assert len(wire.queries) - len(sent) <= (0 if wired.pool.__class__.__name__ == "QueuePool" else 1)


@pytest.mark.parametrize("rows", [1000, 1_000_000])
def test_a_lookup_without_an_index_takes_no_extra_round_trip(shop, wire, wired, rows):
    """If the index is missing, a payment lookup finds this out without an extra round trip."""
    shop.query("UPDATE pg_class SET reltuples = %s WHERE oid = 'payments'::regclass RETURNING oid", rows)
    shop.process(shop.payment("payos"), engine=wired)
    for _ in range(2):
        payment = shop.payment("payos")
        wire.queries.clear()
        report = shop.process(payment, engine=wired)
        sent = [query for query in wire.queries if query != "ROLLBACK"]
        walked = rows > 10_000 or wired.pool.__class__.__name__ != "QueuePool"
        assert words(sent) == ["WITH" if walked else "SELECT", "WITH", "COMMIT"]
        assert report.outcome is WebhookOutcome.SETTLED
        assert report.unindexed_payments == (rows if rows > 100_000 else 0)


def test_the_timeouts_are_sent_with_the_first_statement(shop, wire, wired):
    """The timeouts are sent with a transaction's first statement, and apply only to this transaction."""
    shop.process(shop.payment("vnpay"), engine=wired)
    (first,) = [query for query in wire.queries if "set_config" in query]
    assert "FOR NO KEY UPDATE" in first
    assert first.startswith(
        "BEGIN; SELECT set_config('statement_timeout', '4000', true), set_config('lock_timeout', '3000', true)"
    )
    assert "set_config('jit', 'off', true)" in first  # with jit, PostgreSQL would compile the lookup in a large table
    assert not [query for query in wire.queries if query.startswith("SET ")]


@pytest.mark.parametrize("statement", ["BEGIN", "FOR NO KEY UPDATE", "WITH settled", "COMMIT"])
def test_a_connection_that_breaks_before_the_commit_leaves_no_partial_write(shop, wire, wired, statement, caplog):
    """If the connection breaks before the commit, a callback writes nothing, and the next one settles the payment."""
    payment = shop.payment("vnpay")
    shop.process(shop.payment("vnpay"), engine=wired)
    before = shop.tables()
    wire.break_at = statement
    with pytest.raises(DatabaseUnavailableError, match="not available"):
        shop.process(payment, engine=wired)
    assert shop.tables() == before
    assert shop.process(payment, engine=wired).outcome is WebhookOutcome.SETTLED
    assert caplog.text == ""


def test_a_lost_commit_confirmation_does_not_settle_twice(shop, wire, wired):
    """If the connection breaks after the commit, a repeated callback does not settle the payment a second time."""
    payment = shop.payment("vnpay")
    wire.break_at, wire.after = "COMMIT", True
    with pytest.raises(DatabaseUnavailableError):
        shop.process(payment, engine=wired)
    assert shop.process(payment, engine=wired).outcome is WebhookOutcome.ALREADY_SETTLED
    assert (shop.row(payment)["status"], len(shop.events(payment))) == ("COMPLETED", 1)
