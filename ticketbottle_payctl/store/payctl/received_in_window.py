"""Count a time window's callbacks in ``payctl.webhook_receipts``. Only genuine callbacks have receipts.

Gateways' responses to status queries have receipts too, but are not counted, because they are not callbacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.payctl.receipts import STATUS_QUERY


class RefusedCallback(NamedTuple):
    """A refused callback, with its receipt's id, its arrival time, its gateway and the reason."""

    id: str
    at: datetime
    provider: str
    reason: str


class Received(NamedTuple):
    """The number of callbacks in a window, by result.

    Refused callbacks are also counted by reason and by part of the window.
    """

    by_result: Mapping[str, int]
    refused: Mapping[str, Mapping[int, int]]
    first_refused: RefusedCallback | None
    last_refused: RefusedCallback | None


_REASON = "COALESCE(reason, 'unknown')"
_OF_WINDOW = f"received_at >= %(since)s AND received_at < %(until)s AND method <> '{STATUS_QUERY}'"
_RECEIVED = f"""
    SELECT result, CASE WHEN result = 'refused' THEN {_REASON} END,
        CASE WHEN result = 'refused' THEN floor(EXTRACT(epoch FROM received_at - %(since)s) / %(step)s)::int END,
        count(*)
    FROM payctl.webhook_receipts WHERE {_OF_WINDOW} GROUP BY 1, 2, 3
"""  # noqa: S608 - only constants are put in
_END = f"""
    SELECT id::text, received_at, provider, {_REASON} FROM payctl.webhook_receipts
    WHERE {_OF_WINDOW} AND result = 'refused'
    ORDER BY received_at {{direction}}, id LIMIT 1
"""  # noqa: S608 - only constants are put in


def received(connection: Connection, since: datetime, until: datetime, step_s: float) -> Received:
    """Count the callbacks that arrived in a window. The parts of the window are ``step_s`` seconds long."""
    parameters: dict[str, object] = {"since": since, "until": until, "step": step_s}
    results: dict[str, int] = {}
    refused: dict[str, dict[int, int]] = {}
    for result, reason, part, count in connection.exec_driver_sql(_RECEIVED, parameters):
        results[result] = results.get(result, 0) + count
        if reason is not None:
            refused.setdefault(reason, {})[part] = count
    first, last = (_end(connection, each, parameters) if refused else None for each in ("", "DESC"))
    return Received(results, refused, first, last)


def _end(connection: Connection, direction: str, parameters: dict[str, object]) -> RefusedCallback | None:
    row = connection.exec_driver_sql(_END.format(direction=direction), parameters).one_or_none()
    return None if row is None else RefusedCallback(*row)
