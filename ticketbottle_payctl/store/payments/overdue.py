"""Find payments that no callback has settled, so that payctl can query their gateways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.gateway_names import GATEWAY
from ticketbottle_payctl.store.db.owner_time import aware, stored
from ticketbottle_payctl.store.payments import closed_overdue

_COLUMNS = f"""id, "orderCode", "amountCents", {GATEWAY}, "providerTransactionId", status::text, "createdAt" """


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A payment about which payctl can query its gateway.

    ``gateway`` is payctl's name for the gateway. ``amount`` is in whole VND. All times are in UTC.
    """

    id: str
    order_code: str
    amount: int
    gateway: str
    reference: str
    status: str
    created_at: datetime


def forgotten(gateway: str = GATEWAY, created_at: str = '"createdAt"') -> str:
    """Return an SQL condition that is true if a payment is too old for its gateway's status query.

    The arguments are SQL expressions. The statement needs the parameters that ``known`` returns.
    """
    return f"""EXISTS (
        SELECT FROM unnest(%(gateways)s::text[], %(known_since)s::timestamp[]) AS known (gateway, since)
        WHERE known.gateway = {gateway} AND {created_at} <= known.since)"""


def known(since: Mapping[str, datetime]) -> dict[str, object]:
    """Return the parameters for ``forgotten``.

    ``since`` is the creation time of the oldest payment that each gateway knows.
    """
    return {"gateways": list(since), "known_since": [stored(at) for at in since.values()]}


_FORGOTTEN = forgotten()
_OVERDUE = f"""status = 'PENDING' AND "createdAt" < %(before)s
    AND (%(gateway)s::text IS NULL OR {GATEWAY} = %(gateway)s)"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The condition for overdue payments, which are PENDING and were created before ``before``.

    If ``gateway`` is None, payments of all gateways are included. Some gateways do not answer queries about old
    payments. For each of these gateways, ``known_since`` contains the creation time of the oldest payment that the
    gateway still answers queries about.
    """

    before: datetime
    known_since: Mapping[str, datetime]
    gateway: str | None = None


MOST_FORGOTTEN = 10_000
"""The maximum number of payments to count that are too old for their gateways' status queries."""


class Forgotten(NamedTuple):
    """The number of overdue payments that are too old for their gateways' status queries.

    ``closed`` counts the payments that a person has closed, and ``open`` counts the other payments. Together, they
    count at most :data:`MOST_FORGOTTEN` payments. ``more`` is true if there are more payments, which were not read.
    Then each number means "this many or more". ``order_code`` is the order code of the newest open payment that was
    read, or None.
    """

    open: int = 0
    closed: int = 0
    order_code: str | None = None
    more: bool = False


NONE_FORGOTTEN = Forgotten()
"""The result if no payment is too old."""


def overdue(connection: Connection, wanted: Overdue, limit: int) -> list[Unsettled]:
    """Return overdue payments that are not too old for their gateways' status queries, latest first."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT {_COLUMNS} FROM payments WHERE {_OVERDUE} AND NOT {_FORGOTTEN}
        ORDER BY "createdAt" DESC, id LIMIT %(limit)s
        """,  # noqa: S608 - built from constants only
        {**_parameters(wanted), "limit": limit},
    )
    return [_payment(row) for row in rows]


def count_forgotten(connection: Connection, wanted: Overdue, most: int = MOST_FORGOTTEN) -> Forgotten:
    """Count at most ``most`` overdue payments that are too old for their gateways' status queries.

    The payments have no index on their creation time. Therefore the statement reads them in any order, and stops at the
    limit.

    If the role is not allowed to read the closing records, no payment counts as closed.
    """
    closings, closed = "", "false"
    if closed_overdue.may_read(connection):
        closings, closed = f"{closed_overdue.CLOSINGS},", closed_overdue.is_closed("p")
    sql = f"""
        WITH {closings} found AS MATERIALIZED (
            SELECT id, "orderCode" AS code, "providerTransactionId" AS reference, "createdAt" AS created_at,
                {GATEWAY} AS gateway
            FROM payments WHERE {_OVERDUE} AND {_FORGOTTEN} LIMIT %(most)s + 1
        ), judged AS MATERIALIZED (
            SELECT id, code, created_at, {closed} AS closed FROM (SELECT * FROM found LIMIT %(most)s) AS p)
        SELECT count(*) FILTER (WHERE NOT closed), count(*) FILTER (WHERE closed),
            (SELECT code FROM judged WHERE NOT closed ORDER BY created_at DESC, id LIMIT 1),
            (SELECT count(*) > %(most)s FROM found)
        FROM judged
    """  # noqa: S608 - built from constants only
    return Forgotten(*connection.exec_driver_sql(sql, {**_parameters(wanted), "most": most}).one())


def _parameters(wanted: Overdue) -> dict[str, object]:
    return {
        "before": stored(wanted.before),
        "gateway": wanted.gateway,
        **known(wanted.known_since),
    }


def named(connection: Connection, names: Sequence[str]) -> list[Unsettled]:
    """Return the payments with these ids or order codes, in any status, oldest first."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT {_COLUMNS} FROM payments WHERE id = ANY(%(names)s) OR "orderCode" = ANY(%(names)s)
        ORDER BY "createdAt", id
        """,  # noqa: S608 - built from constants only
        {"names": list(names)},
    )
    return [_payment(row) for row in rows]


def _payment(row: Sequence[Any]) -> Unsettled:
    payment_id, order_code, amount, gateway, reference, status, created_at = row
    return Unsettled(payment_id, order_code, amount, gateway, reference, status, aware(created_at))
