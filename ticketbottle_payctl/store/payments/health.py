"""Measure each gateway's health by its last callback, and by its recent payments that no callback has settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.engine import fetch
from ticketbottle_payctl.store.db.gateway_names import GATEWAY
from ticketbottle_payctl.store.db.owner_time import NOW

# The query reads the payments of the last day once. A gateway's last callback counts only if it arrived in the last
# day.
_HEALTH = f"""
    WITH day AS (
        SELECT {GATEWAY} AS gateway, status::text AS status, "createdAt" AS created, {NOW} - "createdAt" AS age
        FROM payments WHERE "createdAt" > {NOW} - interval '1 day'
    ), called AS (
        SELECT provider AS gateway, max(received_at) AT TIME ZONE 'UTC' AS last
        FROM payctl.webhook_receipts
        WHERE received_at > (SELECT clock_timestamp() - interval '1 day') -- read once, so that the index can be used
        GROUP BY provider
    )
    SELECT gateway,
        count(*) FILTER (WHERE age > %(after)s AND age < %(after)s + %(window)s),
        count(*) FILTER (WHERE age > %(after)s AND age < %(after)s + %(window)s AND status = 'PENDING'),
        count(*) FILTER (WHERE last IS NULL OR created > last),
        extract(epoch FROM {NOW} - min(created) FILTER (WHERE last IS NULL OR created > last))
    FROM day LEFT JOIN called USING (gateway) GROUP BY gateway ORDER BY gateway
"""  # noqa: S608 - built from constants only


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """A gateway's health, based on the payments of the last day.

    ``due`` counts the payments that are old enough to have been settled, and ``overdue`` counts the old payments that
    are still PENDING. ``created_since`` counts the payments that were created after the gateway's last genuine
    callback. ``silent_s`` is the age in seconds of the oldest of those payments, or None if there are none.
    """

    gateway: str
    due: int
    overdue: int
    created_since: int
    silent_s: float | None


def health(connection: Connection, *, after: timedelta, window: timedelta) -> list[GatewayHealth]:
    """Return the health of each gateway with payments from the last day.

    A payment is due if its age is between ``after`` and ``after + window``.
    """
    rows = fetch(connection, _HEALTH, {"after": after, "window": window})
    return [
        GatewayHealth(gateway, due, overdue, since, None if silent is None else float(silent))
        for gateway, due, overdue, since, silent in rows
    ]
