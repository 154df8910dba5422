"""List stored callbacks, latest first, one page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

from sqlalchemy import Connection

from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.gateway_names import SAME_GATEWAY
from ticketbottle_payctl.store.db.pages import Listed, PagePosition
from ticketbottle_payctl.store.payments.closed_transfers import closed_among


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


class ListedReceipt(TypedDict, total=False):
    """A stored callback, with the requested fields. All times are in UTC."""

    id: str
    received_at: datetime
    provider: str
    outcome: str
    """The outcome that the callback reports for its payment."""
    result: str
    """payctl's decision on the callback."""
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
    """Whether the gateway sent a callback, or answered a status query from `payctl reconcile payments`."""
    closed: bool
    """Whether a person has closed what the callback reports, with `payctl close`."""


RECEIPT_FIELDS = tuple(ListedReceipt.__annotations__)
"""The column names, in the order of the SELECT statement below. ``closed`` comes from another statement."""

_OF_ORDER = """(o.order_ref = ANY(%(order_codes)s)
    OR o.payment_id IN (SELECT p.id FROM payments AS p WHERE p."orderCode" = ANY(%(order_codes)s)))"""


def list_receipts(
    connection: Connection,
    limit: int,
    before: PagePosition | None,
    *,
    selector: ReceiptSelector,
    with_closed: bool = True,
) -> list[Listed]:
    """Return the selected receipts, latest first, without the callbacks' content.

    If ``with_closed`` is false, the receipts do not contain the field ``closed``, which needs another statement.

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
    rows = connection.exec_driver_sql(sql, parameters).all()
    if not with_closed:
        return [Listed(RECEIPT_FIELDS[:-1], row, "received_at") for row in rows]
    closed = closed_among(connection, [row[0] for row in rows if row[5] not in {None, "pending"}])
    return [Listed(RECEIPT_FIELDS, (*row, row[0] in closed), "received_at") for row in rows]
