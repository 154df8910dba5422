"""List rows, newest first, one page at a time. Each page has its own transaction, so no transaction stays open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypedDict

from sqlalchemy import Connection

from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.owner_time import NOW, aware_value, stored
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.blocked import Pending, blocked_among
from ticketbottle_payctl.store.outbox.selector import (
    SAME_GATEWAY,
    SUPERSEDED,
    Selector,
    check_pattern,
    pattern_errors_as_input_errors,
    predicate,
    with_whole_ids,
)


class PagePosition(NamedTuple):
    """The instant (aware) and the id of a page's last row. The next page begins after this row."""

    at: datetime
    id: str


class Listed(NamedTuple):
    """A row of a list.

    ``names`` contains the names of the values. The rows are sorted by the value at the index ``instant``.
    """

    names: tuple[str, ...]
    values: Sequence[Any]
    instant: int

    @property
    def position(self) -> PagePosition:
        """Return the row's position in the list."""
        at = aware_value(self.values[self.instant])
        assert isinstance(at, datetime)  # noqa: S101 - for the type checker
        return PagePosition(at, str(self.values[0]))

    @property
    def row(self) -> dict[str, object]:
        """Return the row's values by name."""
        return dict(zip(self.names, map(aware_value, self.values), strict=True))


PAYMENTS_PAGE = 50_000
"""The number of payments on a page.

Creation times have no index, so the query for each page sorts the rest of the table.
"""


@dataclass(frozen=True, slots=True)
class PaymentSelector:
    """A selector of payments. ``stuck`` is the minimum time that a payment must have been PENDING."""

    ids: tuple[str, ...] | None = None
    order_codes: tuple[str, ...] = ()
    provider: str | None = None
    statuses: tuple[str, ...] = ()
    stuck: timedelta | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReceiptSelector:
    """A selector of receipts. ``results`` contains results of ``process-webhook``."""

    ids: tuple[str, ...] | None = None
    order_codes: tuple[str, ...] = ()
    payments: tuple[str, ...] = ()
    provider: str | None = None
    results: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


class ListedEvent(TypedDict, total=False):
    """An event in the outbox, with the requested fields. All times are in UTC."""

    id: str
    event_type: str
    state: Literal["pending", "dead", "published"]
    """The event's state: pending, dead (out of retries) or published."""
    order_code: str | None
    aggregate_id: str
    """The payment's id, and the message's key."""
    aggregate_type: str
    provider: str | None
    created_at: datetime | None
    published_at: datetime | None
    retry_count: Count
    last_error: str | None
    superseded: bool | None
    """Whether this event reports a failure or cancellation of a payment that is COMPLETED now.

    The value is null in an archive.
    """
    blocked: bool
    """Whether this event is pending and waits behind a dead event of its payment."""


class ListedPayment(TypedDict, total=False):
    """A payment, with the requested fields. All times are in UTC."""

    id: str
    order_code: str
    status: str
    amount: int
    """The amount in whole units of the currency."""
    currency: str
    provider: str
    provider_transaction_id: str
    """The gateway's reference for the payment."""
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    failed_at: datetime | None
    cancelled_at: datetime | None


class ListedReceipt(TypedDict, total=False):
    """A stored callback, with the requested fields. All times are in UTC."""

    id: str
    received_at: datetime
    provider: str
    outcome: str
    """The outcome that the callback reports for its payment."""
    result: str
    """payctl's decision about the callback."""
    reason: str | None
    order_ref: str
    reference: str
    gateway_transaction_id: str | None
    amount: int | None
    currency: str
    payment_id: str | None
    event_id: str | None
    correlation_id: str | None
    order_code: str | None
    """The payment's order code. The value is null if the callback's payment is not in this database."""
    source: Literal["callback", "reconcile"]
    """Whether the gateway sent a callback, or answered a status query of `payctl reconcile payments`."""


OUTBOX_FIELDS = tuple(ListedEvent.__annotations__)
PAYMENT_FIELDS = tuple(ListedPayment.__annotations__)
RECEIPT_FIELDS = tuple(ListedReceipt.__annotations__)
"""The column names, in the order of the SELECT statements below. The last one of the outbox is read separately."""


def outbox(
    connection: Connection, limit: int, before: PagePosition | None, *, selector: Selector, max_retries: int
) -> list[Listed]:
    """Return selected events, newest first. The selector's own limit is ignored.

    Raises:
        InputError: the ``error`` pattern is not a regular expression, or a short id is ambiguous.
    """
    check_pattern(connection, selector)
    wanted = predicate(with_whole_ids(connection, selector), max_retries)
    older = _OLDER.format('o."createdAt"') if before else "true"
    # The index is on (published, "createdAt"). Two short index scans are faster than a sort of the table.
    halves = " UNION ALL ".join(
        f"""(SELECT o.* FROM outbox AS o WHERE o.published = {half} AND {older} AND {wanted.sql}
        ORDER BY o."createdAt" DESC, o.id COLLATE "C" DESC LIMIT %(limit)s)"""  # noqa: S608
        for half in ("true", "false")
    )
    sql = f"""
        SELECT o.id, o."eventType", {states.name("o.")}, y."orderCode", o."aggregateId", o."aggregateType", y.provider,
            o."createdAt", o."publishedAt", o."retryCount", o."lastError", {SUPERSEDED}
        FROM (SELECT * FROM ({halves}) AS o ORDER BY o."createdAt" DESC, o.id COLLATE "C" DESC LIMIT %(limit)s) AS o
        LEFT JOIN payments AS y ON y.id = o."aggregateId"
        ORDER BY o."createdAt" DESC, o.id COLLATE "C" DESC
    """  # noqa: S608 - built from constants only
    with pattern_errors_as_input_errors(selector):
        rows = connection.exec_driver_sql(sql, wanted.parameters | _page(limit, before)).all()
    pending = [Pending(row[0], row[4], row[7]) for row in rows if row[2] == "pending"]
    blocked = blocked_among(connection, pending, max_retries)
    return [Listed(OUTBOX_FIELDS, (*row, row[0] in blocked), 7) for row in rows]


def payments(
    connection: Connection, limit: int, before: PagePosition | None, *, selector: PaymentSelector
) -> list[Listed]:
    """Return selected payments, the latest created first.

    Raises:
        InputError: a short id is ambiguous.
    """
    conditions = [
        *([] if selector.ids is None else ["o.id = ANY(%(ids)s)"]),
        *(['o."orderCode" = ANY(%(order_codes)s)'] if selector.order_codes else []),
        *([SAME_GATEWAY.format("o.provider")] if selector.provider else []),
        *(["o.status::text = ANY(%(statuses)s)"] if selector.statuses else []),
        *([_STUCK] if selector.stuck is not None else []),
        *(['o."createdAt" >= %(since)s'] if selector.since else []),
        *(['o."createdAt" < %(until)s'] if selector.until else []),
        *([_OLDER.format('o."createdAt"')] if before else []),
    ]
    sql = f"""
        SELECT o.id, o."orderCode", o.status::text, o."amountCents", o.currency::text, o.provider,
            o."providerTransactionId", o."createdAt", o."updatedAt", o."completedAt", o."failedAt", o."cancelledAt"
        FROM payments AS o WHERE {" AND ".join(conditions) or "true"}
        ORDER BY o."createdAt" DESC, o.id COLLATE "C" DESC LIMIT %(limit)s
    """  # noqa: S608 - built from constants only
    parameters = {
        "ids": list(short_ids.whole(connection, "payments", selector.ids or ())),
        "order_codes": list(selector.order_codes),
        "provider": selector.provider,
        "statuses": list(selector.statuses),
        "stuck": selector.stuck,
        "since": stored(selector.since),
        "until": stored(selector.until),
    }
    rows = connection.exec_driver_sql(sql, parameters | _page(limit, before)).all()
    return [Listed(PAYMENT_FIELDS, row, 7) for row in rows]


def receipts(
    connection: Connection, limit: int, before: PagePosition | None, *, selector: ReceiptSelector
) -> list[Listed]:
    """Return selected receipts, the latest first, without the content of the callbacks.

    Raises:
        InputError: a short id is ambiguous.
    """
    conditions = [
        *([] if selector.ids is None else ["o.id::text = ANY(%(ids)s)"]),
        *([_OF_ORDER] if selector.order_codes else []),
        *(["o.payment_id = ANY(%(payments)s)"] if selector.payments else []),
        *([SAME_GATEWAY.format("o.provider")] if selector.provider else []),
        *(["o.result = ANY(%(results)s)"] if selector.results else []),
        *(["o.received_at >= %(since)s"] if selector.since else []),
        *(["o.received_at < %(until)s"] if selector.until else []),
        *(["(o.received_at, o.id) < (%(before_at)s, %(before_id)s::uuid)"] if before else []),
    ]
    sql = f"""
        SELECT o.id::text, o.received_at, o.provider, o.outcome, o.result, o.reason, o.order_ref, o.reference,
            o.gateway_transaction_id, o.amount, o.currency, o.payment_id, o.event_id, o.correlation_id,
            (SELECT p."orderCode" FROM payments AS p WHERE p.id = o.payment_id) AS order_code,
            CASE WHEN o.method = 'RECONCILE' THEN 'reconcile' ELSE 'callback' END
        FROM payctl.webhook_receipts AS o WHERE {" AND ".join(conditions) or "true"}
        ORDER BY o.received_at DESC, o.id DESC LIMIT %(limit)s
    """  # noqa: S608 - built from constants only
    parameters: dict[str, object] = {
        "ids": list(short_ids.whole(connection, "payctl.webhook_receipts", selector.ids or (), uuids=True)),
        "order_codes": list(selector.order_codes),
        "payments": list(short_ids.whole(connection, "payments", selector.payments)),
        "provider": selector.provider,
        "results": list(selector.results),
        "since": selector.since,
        "until": selector.until,
        "limit": limit,
        "before_at": before.at if before else None,
        "before_id": before.id if before else None,
    }
    return [Listed(RECEIPT_FIELDS, row, 1) for row in connection.exec_driver_sql(sql, parameters).all()]


_OLDER = '({0} <= %(before_at)s AND ({0}, o.id COLLATE "C") < (%(before_at)s, %(before_id)s))'
_STUCK = f"""(o.status::text = 'PENDING' AND o."createdAt" <= {NOW} - %(stuck)s::interval)"""
_OF_ORDER = """(o.order_ref = ANY(%(order_codes)s)
    OR o.payment_id IN (SELECT p.id FROM payments AS p WHERE p."orderCode" = ANY(%(order_codes)s)))"""


def _page(limit: int, before: PagePosition | None) -> dict[str, object]:
    at = stored(before.at) if before else None
    return {"limit": limit, "before_at": at, "before_id": before.id if before else None}
