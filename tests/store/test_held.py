"""Test the search for sessions that have locked waiting events, and that its settings end with the transaction."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.outbox import blocked, held

pytestmark = pytest.mark.postgres


def test_each_event_is_held_by_the_session_that_has_locked_its_row(engine):
    """Each locked event is returned with the session that locked it. An unlocked event has no session."""
    orders = Orders(engine).pay()
    names = orders.event().event().event().event("FAILED", retries=2, error="no").event().events[:4]
    with ExitStack() as opened:
        reader, *holders = [opened.enter_context(engine.connect()) for _ in range(4)]
        pids = [each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in holders]
        for number, (holder, name) in enumerate(zip(holders, names, strict=False)):
            sql = "SELECT id, set_config('application_name', %s, true) FROM outbox WHERE id = %s FOR UPDATE"
            holder.exec_driver_sql(sql, (f"holder {number}", name))
        found = held.blocking_events(reader, names)
    assert found.keys() == {*names}
    held_by = [(found[name].locked_by, found[name].application, found[name].session_state) for name in names]
    idle = "idle in transaction"
    assert held_by == [*((pid, f"holder {number}", idle) for number, pid in enumerate(pids)), (None, None, None)]
    last = found[names[3]]
    assert (last.event_type, last.retry_count, last.last_error) == ("PAYMENT_FAILED", 2, "no")
    assert (last.locked_s, last.order_code) == (None, orders.payment.order_code)


def test_the_search_for_blocked_events_changes_the_planner_only_in_its_transaction(engine):
    """The planner setting of the search ends with the transaction, because other commands use the connection later."""
    waiting = Orders(engine).pay().event(retries=5).event().events[1:]
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM outbox WHERE id = ANY(%s)", (waiting,)).all()
        pending = [blocked.Pending(row.id, row.aggregateId, row.createdAt) for row in rows]
        assert blocked.blocked_among(connection, pending, 5) == {*waiting}
        assert connection.exec_driver_sql("SHOW enable_nestloop").scalar_one() == "off"
        connection.commit()
        assert connection.exec_driver_sql("SHOW enable_nestloop").scalar_one() == "on"
