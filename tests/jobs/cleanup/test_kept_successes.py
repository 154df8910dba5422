"""Test that a cleanup keeps a sent success while a dead event of its payment may be harmless because of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.jobs.cleanup import preview_cleanup

pytestmark = pytest.mark.postgres
OLD = timedelta(days=9)

# the dead event: whether the sent success of its payment is kept
DEAD = {"COMPLETED": True, "?NOTED": True, "FAILED": False, "CANCELLED": False}


@pytest.mark.parametrize("half_marked", [False, True])
@pytest.mark.parametrize("kind", DEAD)
def test_a_cleanup_keeps_the_success_that_makes_a_dead_event_harmless(clean, engine, execute, kind, half_marked):
    """The sent success is kept, and the preview leaves it out. All other sent events are deleted."""
    orders = Orders(engine).pay("COMPLETED", age=OLD).event(state="published", age=OLD)
    orders.event("FAILED", "published", age=OLD).event(kind, "dead", age=OLD)
    success, failure, dead = orders.events
    Orders(engine).pay("COMPLETED", age=OLD).event(state="published", age=OLD)
    if half_marked:
        execute("UPDATE outbox SET published = false WHERE published")
    kept = {success, dead} if DEAD[kind] else {dead}
    assert preview_cleanup(engine, retention=timedelta(days=7), max_retries=5).matched == 4 - len(kept)
    report = clean(batch_size=1)
    assert (report.deleted, report.matched, report.remaining) == (4 - len(kept), 4 - len(kept), 0)
    assert set(execute("SELECT id FROM outbox")) == kept
    assert failure not in kept


def test_a_cleanup_deletes_the_success_once_no_event_of_its_payment_is_dead(clean, engine, execute):
    """After the dead event was sent, the next cleanup deletes the success."""
    Orders(engine).pay("COMPLETED", age=OLD).event(state="published", age=OLD).event(state="dead", age=OLD)
    assert clean().deleted == 0
    execute("""UPDATE outbox SET published = true, "publishedAt" = "createdAt" WHERE NOT published""")
    assert clean().deleted == 2
