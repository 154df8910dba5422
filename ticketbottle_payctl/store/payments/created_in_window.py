"""Count the payments that were created in a time window. ``"createdAt"`` has no index, so a scan reads the whole table.

:func:`created` scans the table twice. :func:`silent` scans it once, and only until it has found enough payments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.gateway_names import GATEWAY
from ticketbottle_payctl.store.db.owner_time import NOW, stored
from ticketbottle_payctl.store.payments.closed_overdue import CLOSINGS, has_closed_callback
from ticketbottle_payctl.store.payments.overdue import forgotten, known


class CreatedPayments(NamedTuple):
    """The number of payments in a window, by current status.

    ``overdue`` counts the payments that have been PENDING for too long. ``silent`` counts the overdue payments that no
    callback in the window explains and no person has closed. Only the gateways can tell whether these payments are
    paid. ``forgotten`` counts the silent payments that are too old for their gateway's status query, and are only shown
    in the gateway's portal. ``closed`` counts the overdue payments that a person has closed after looking in the
    portal.
    """

    by_status: Mapping[str, int]
    overdue: int
    silent: int
    forgotten: int = 0
    closed: int = 0


class SilentPayments(NamedTuple):
    """The number of silent payments, and how many of them are too old for their gateway's status query.

    ``closed`` counts the overdue payments that a person has closed after looking in the gateway's portal.
    """

    number: int
    forgotten: int
    closed: int = 0


# A callback with one of the reasons explains a payment: its order counts as an order without a ticket, or a person must
# check its money. The callback must come from the payment's own gateway, which alone knows whether the payment is paid.
# Other callbacks, such as those about a payment in progress or an agreement, do not explain a payment. The planner
# expects few such callbacks, and would join them by a nested loop. NOT IN searches a hash table instead.
_LATE = f"""
    {CLOSINGS}, told AS MATERIALIZED (
        SELECT payment_id, reference, order_ref, provider FROM payctl.webhook_receipts
        WHERE received_at >= %(from)s AND received_at < %(to)s AND reason = ANY(%(reasons)s)
    ), late AS MATERIALIZED (
        SELECT id, "orderCode" AS code, "providerTransactionId" AS reference, {GATEWAY} AS gateway,
            "createdAt" AS created_at
        FROM payments
        WHERE status = 'PENDING' AND "createdAt" >= %(since)s AND "createdAt" < %(until)s
            AND "createdAt" < {NOW} - %(overdue_after)s
    ), closed AS MATERIALIZED (
        SELECT id FROM closed_overdue
        WHERE created_at >= %(since)s AND created_at < %(until)s AND created_at < {NOW} - %(overdue_after)s
    )
"""  # noqa: S608 - only constants are put in
_SILENT = f"""
    SELECT {forgotten("p.gateway", "p.created_at")} AS forgotten FROM late AS p
    WHERE (id, gateway) NOT IN (SELECT payment_id, provider FROM told WHERE payment_id IS NOT NULL)
        AND (reference, gateway) NOT IN (SELECT reference, provider FROM told WHERE reference <> '')
        AND (code, gateway) NOT IN (SELECT order_ref, provider FROM told WHERE payment_id IS NULL)
        AND id NOT IN (SELECT id FROM closed) AND NOT {has_closed_callback("p")}
"""  # noqa: S608 - only constants are put in
_CREATED = f"""
    WITH {_LATE}, silent AS MATERIALIZED ({_SILENT})
    SELECT status::text, count(*), count(*) FILTER (WHERE "createdAt" < {NOW} - %(overdue_after)s),
        (SELECT count(*) FROM silent), (SELECT count(*) FROM silent WHERE forgotten), (SELECT count(*) FROM closed)
    FROM payments WHERE "createdAt" >= %(since)s AND "createdAt" < %(until)s GROUP BY 1
"""  # noqa: S608 - only constants are put in
_COUNT_SILENT = f"""
    WITH {_LATE}
    SELECT count(*), count(*) FILTER (WHERE forgotten), (SELECT count(*) FROM closed)
    FROM ({_SILENT} LIMIT %(most)s) AS found
"""  # noqa: S608 - only constants are put in


class OverdueRules(NamedTuple):
    """The rules for overdue payments.

    A payment is overdue if it has been PENDING for longer than ``after``. A callback explains why its payment is
    overdue if the callback's reason is in ``reasons``. ``known_since`` contains, by gateway, the creation time of the
    oldest payment that the gateway still answers queries about.
    """

    after: timedelta
    reasons: Sequence[str]
    known_since: Mapping[str, datetime]


def created(connection: Connection, since: datetime, until: datetime, rules: OverdueRules) -> CreatedPayments:
    """Count the payments that were created in a window."""
    rows = connection.exec_driver_sql(_CREATED, _values(since, until, rules)).all()
    overdue = sum(row[2] for row in rows if row[0] == "PENDING")
    found = SilentPayments(*rows[0][3:]) if rows else SilentPayments(0, 0)
    return CreatedPayments({row[0]: row[1] for row in rows}, overdue, *found)


def silent(
    connection: Connection, since: datetime, until: datetime, rules: OverdueRules, *, most: int
) -> SilentPayments:
    """Count the silent payments as :func:`created` does. Stop at ``most``."""
    values = _values(since, until, rules) | {"most": most}
    return SilentPayments(*connection.exec_driver_sql(_COUNT_SILENT, values).one())


def _values(since: datetime, until: datetime, rules: OverdueRules) -> dict[str, object]:
    window = {"since": stored(since), "until": stored(until), "from": since, "to": until}
    return {**window, "overdue_after": rules.after, "reasons": list(rules.reasons), **known(rules.known_since)}
