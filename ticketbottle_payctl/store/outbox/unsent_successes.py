"""Find the dead events that do not report a failed payment. A paying customer may be waiting for such an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import FAILURES
from ticketbottle_payctl.store.outbox import states

_MOST_NAMED = 3


class UnsentSuccess(NamedTuple):
    """A dead event, with the order code in its payload."""

    id: str
    order_code: str | None


class UnsentSuccesses(NamedTuple):
    """The number of dead events that a customer may be waiting for. ``oldest`` contains at most three of them."""

    events: int = 0
    oldest: Sequence[UnsentSuccess] = ()


NONE_UNSENT = UnsentSuccesses()
"""The result if there are no dead success events."""


def unsent_successes(connection: Connection, max_retries: int, without: Sequence[str]) -> UnsentSuccesses:
    """Return the dead events that do not report a failed payment, except those whose ids are in ``without``."""
    sql = f"""
        SELECT count(*) OVER (), o.id, {states.order_code("o.")} FROM outbox AS o
        WHERE {states.dead("o.")} AND o."eventType" <> ALL(%(failures)s) AND o.id <> ALL(%(without)s)
        ORDER BY o."createdAt", o.id COLLATE "C" LIMIT {_MOST_NAMED}
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "failures": list(FAILURES), "without": list(without)}
    rows = connection.exec_driver_sql(sql, values).all()
    return UnsentSuccesses(rows[0][0] if rows else 0, tuple(UnsentSuccess(*rest) for _, *rest in rows))
