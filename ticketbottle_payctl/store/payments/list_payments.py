"""List payments, newest first, one page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from sqlalchemy import Connection

from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.gateway_names import SAME_GATEWAY
from ticketbottle_payctl.store.db.owner_time import NOW, stored
from ticketbottle_payctl.store.db.pages import OLDER, Listed, PagePosition, page_parameters
from ticketbottle_payctl.store.payments.closed_overdue import closed_among

PAYMENTS_PAGE = 50_000
"""The number of payments on a page.

Creation times do not have an index, so the query for each page sorts the rest of the table.
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
    closed: bool
    """Whether a person has closed this overdue payment."""


PAYMENT_FIELDS = tuple(ListedPayment.__annotations__)
"""The column names, in the order of the SELECT statement below. The last one is read separately."""

_STUCK = f"""(o.status::text = 'PENDING' AND o."createdAt" <= {NOW} - %(stuck)s::interval)"""


def list_payments(
    connection: Connection, limit: int, before: PagePosition | None, *, selector: PaymentSelector
) -> list[Listed]:
    """Return the selected payments, newest first.

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
        *([OLDER.format('o."createdAt"')] if before else []),
    ]
    sql = f"""
        SELECT o.id, o."orderCode", o.status::text AS status, o."amountCents", o.currency::text, o.provider,
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
    rows = connection.exec_driver_sql(sql, parameters | page_parameters(limit, before)).all()
    closed = closed_among(connection, [row.id for row in rows if row.status == "PENDING"])
    return [Listed(PAYMENT_FIELDS, (*row, row.id in closed), "created_at") for row in rows]
