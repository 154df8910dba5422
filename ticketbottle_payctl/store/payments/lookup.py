"""Find a callback's payment, if possible through an index and without reading the whole table.

``"orderCode"`` has a unique index. The reference ``"providerTransactionId"`` does not have an index in production. A
callback from ZaloPay, VNPay or MoMo contains the order code, so the unique index finds the payment. A PayOS callback
contains a number instead, from which payctl can compute the order's date and the last five characters of the order
code. Order codes have the format ``TB-{EVENT}-{YYYYMMDD}-{8 letters or digits}``. Therefore the index walk below goes
from one ticket event to the next. For each ticket event, the index walk reads the order codes with that date.

All searches find the same payment, because all of them compare the reference. If several payments have the same
reference, all searches prefer the payment whose order code matches the number.
"""

from __future__ import annotations

from sqlalchemy import Connection

from ticketbottle_payctl.domain.callback import Callback, OrderHint, Unclear

LARGE = 100_000
"""With more payments than this, reading the whole table takes longer than all other work for a callback."""

_WORTH_A_WALK = 10_000
_MOST_EVENTS = 500
"""The maximum number of ticket events in an index walk. The walk takes about 15 µs per ticket event."""

_UNINDEXED = "payctl_unindexed_payments"

# If several payments have the same reference, the choice must not depend on their status. Otherwise a repeated callback
# would settle a second payment. ``fits`` is null for the gateways that send the order code.
_CHOICE = """ORDER BY "orderCode" LIKE %(fits)s DESC, translate(lower(provider), '-_ ', '') = %(provider)s DESC,
         "createdAt" DESC, id LIMIT 1"""
BOTH = 'SELECT id FROM payments WHERE "orderCode" = %(order_code)s AND "providerTransactionId" = %(reference)s'
BY_REFERENCE = f'SELECT id FROM payments WHERE "providerTransactionId" = %(reference)s {_CHOICE}'  # noqa: S608
BY_ORDER_CODE = 'SELECT id FROM payments WHERE "orderCode" = %(order_code)s'

_PREFIX = """COALESCE(substring("orderCode" FROM '^(.*-)[0-9]{8}-[^-]*$'), "orderCode")"""
WALK = f"""
WITH RECURSIVE reference AS MATERIALIZED (
    SELECT GREATEST(reltuples, 0)::bigint AS payments, EXISTS (
        SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND a.attname = 'providerTransactionId' AND i.indisvalid AND i.indpred IS NULL
    ) AS indexed
    FROM pg_class AS c WHERE c.oid = to_regclass('payments')
), event (prefix, place) AS (
    (SELECT {_PREFIX}, 1 FROM payments
     WHERE (SELECT NOT indexed AND payments > {_WORTH_A_WALK} AND %(day)s IS NOT NULL FROM reference)
         AND "orderCode" >= 'TB-'
     ORDER BY "orderCode" LIMIT 1)
    UNION ALL
    SELECT (SELECT {_PREFIX} FROM payments WHERE "orderCode" > prefix || '99999999~' ORDER BY "orderCode" LIMIT 1),
        place + 1
    FROM event WHERE prefix IS NOT NULL AND place < {_MOST_EVENTS}
), likely AS MATERIALIZED (
    SELECT code FROM event CROSS JOIN LATERAL (
        -- OFFSET 0 keeps the reference out of this query: the index alone answers it
        SELECT "orderCode" AS code FROM payments
        WHERE "orderCode" >= prefix || %(day)s AND "orderCode" < prefix || %(next_day)s AND "orderCode" LIKE %(fits)s
        OFFSET 0
    ) AS of_that_day
)
"""  # noqa: S608 - built from constants only
BY_NUMBER = f"""SELECT id FROM payments WHERE "orderCode" = ANY (SELECT code FROM likely)
         AND "providerTransactionId" = %(reference)s {_CHOICE}"""  # noqa: S608


def parameters(callback: Callback | Unclear) -> dict[str, object]:
    """Return the parameters for this module's statements."""
    hint = callback.order_hint or OrderHint()
    return {
        # An unclear callback without a name must not find a payment with an empty reference.
        "reference": callback.reference or None,
        "order_code": callback.order_ref or None,
        "provider": callback.provider,
        "day": hint.day,
        "next_day": str(int(hint.day) + 1) if hint.day else None,
        "fits": f"%-{hint.day}-%{hint.tail}" if hint.day else None,
    }


def needs_walk(connection: Connection, callback: Callback | Unclear) -> bool:
    """Return whether an index walk is needed.

    The answer is true if the callback does not contain an order code and the reference may not be indexed.

    Each connection learns from its first walk whether the reference is indexed. A pooled connection is open for only a
    few minutes, so payctl soon notices a new index.
    """
    return callback.order_hint is not None and connection.info.get(_UNINDEXED) != 0


def learn(connection: Connection, payments: int, *, indexed: bool) -> None:
    """Remember what a walk has learned about the table, for later callbacks on this connection."""
    connection.info[_UNINDEXED] = 0 if indexed or payments <= _WORTH_A_WALK else payments


def unindexed_payments(connection: Connection) -> int:
    """Return the approximate number of payments that a PayOS lookup reads without an index.

    If the lookup is fast, return 0. This call does not need a round trip.
    """
    payments = connection.info.get(_UNINDEXED, 0)
    return payments if payments > LARGE else 0


def count_roughly(connection: Connection) -> int:
    """Return the approximate number of payments from PostgreSQL's statistics, without reading any payments."""
    sql = """
        SELECT GREATEST(c.reltuples, s.n_live_tup, 0)::bigint
        FROM pg_class AS c LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid WHERE c.oid = to_regclass('payments')
    """
    return int(connection.exec_driver_sql(sql).scalar() or 0)


def has_any_of(connection: Connection, gateway: str) -> bool:
    """Return whether any payment belongs to this gateway. If no payment does, the query reads the whole table."""
    sql = "SELECT EXISTS (SELECT FROM payments WHERE translate(lower(provider), '-_ ', '') = %(gateway)s)"
    return bool(connection.exec_driver_sql(sql, {"gateway": gateway}).scalar_one())
