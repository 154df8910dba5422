"""Read a payment's row, callbacks and events, and the operators' runs that changed the events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from ticketbottle_payctl.domain.unknown_types import is_unknown
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.owner_time import aware_value, stored
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.message_size import message_bytes
from ticketbottle_payctl.store.outbox.repeated import BEFORE_PAYMENT, repeats
from ticketbottle_payctl.store.outbox.selector import SUPERSEDED
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Closing, Run
from ticketbottle_payctl.store.payments.receipt_rows import ReceiptRow, receipts_of, receipts_of_payments

# "providerTransactionId" has no index in production, so this column is searched after the columns with an index. If
# payctl could not read a callback, the callback's receipt has an empty reference. The gateway's name for an order has
# an index only for such receipts and for receipts without a payment.
_BY_NAME = (
    'SELECT id, NULL, NULL, NULL FROM payments WHERE id = %(name)s OR "orderCode" = %(name)s',
    'SELECT "aggregateId", NULL, NULL, NULL FROM outbox WHERE id = %(name)s',
    """SELECT COALESCE(payment_id,
            (SELECT o.payment_id FROM payctl.webhook_receipts AS o WHERE r.reference = ''
                AND o.received_at > r.received_at AND o.body_sha256 = r.body_sha256 AND o.provider = r.provider
                AND o.payment_id IS NOT NULL LIMIT 1),
            (SELECT o.payment_id FROM payctl.webhook_receipts AS o WHERE o.reference = NULLIF(r.reference, '')
                AND o.provider = r.provider AND o.payment_id IS NOT NULL LIMIT 1),
            (SELECT p.id FROM payments AS p WHERE p."orderCode" = r.order_ref)),
        r.reference, r.order_ref, r.id::text FROM payctl.webhook_receipts AS r WHERE r.id = %(uuid)s::uuid""",
    'SELECT id, NULL, NULL, NULL FROM payments WHERE "providerTransactionId" = %(name)s',
    """SELECT COALESCE(payment_id, (SELECT p.id FROM payments AS p WHERE p."orderCode" = r.order_ref)) AS payment,
        reference, NULL, id::text FROM payctl.webhook_receipts AS r WHERE reference = %(name)s
        ORDER BY payment NULLS LAST, received_at LIMIT 1""",
    """SELECT payment_id, NULL, order_ref, NULL FROM payctl.webhook_receipts
        WHERE reference = '' AND order_ref = %(name)s LIMIT 1""",
    """SELECT COALESCE(
            (SELECT o.payment_id FROM payctl.webhook_receipts AS o WHERE o.reference = r.reference
                AND o.provider = r.provider AND o.payment_id IS NOT NULL LIMIT 1),
            (SELECT p.id FROM payments AS p WHERE p."orderCode" = r.order_ref)),
        reference, NULL, id::text FROM payctl.webhook_receipts AS r
        WHERE payment_id IS NULL AND order_ref = %(name)s AND reference <> '' ORDER BY received_at DESC LIMIT 1""",
)
PAYMENT = """id, "orderCode", status::text, "amountCents", currency::text, provider, "providerTransactionId",
    "createdAt", "completedAt", "failedAt", "cancelledAt" """
"""The columns of a :class:`PaymentRow`."""
SHORTEST_ENDING = 4
_MOST_NEAR = 10


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """A payment. The amount is in whole units of its currency. All times are in UTC."""

    id: str
    order_code: str
    status: str
    amount: int
    currency: str
    provider: str
    reference: str
    created_at: datetime
    completed_at: datetime | None
    failed_at: datetime | None
    cancelled_at: datetime | None

    @property
    def was_completed_late(self) -> bool:
        """Whether the payment was completed after it had failed or was cancelled."""
        completed = self.completed_at
        return any(at and completed and at < completed for at in (self.failed_at, self.cancelled_at))


@dataclass(frozen=True, slots=True)
class EventRow:
    """An outbox event. ``state`` is pending, dead or published.

    ``message_bytes`` is the size of the event's message. ``repeats`` is true if the event is dead and repeats a success
    that was sent. ``version`` is the id of the transaction that wrote the row. One claim gives all its events the same
    version.
    """

    id: str
    aggregate_id: str
    event_type: str
    state: str
    superseded: bool
    created_at: datetime
    published_at: datetime | None
    retry_count: int
    last_error: str | None
    payload: object
    message_bytes: int
    repeats: bool = False
    version: int = 0


class NearOrder(NamedTuple):
    """An order whose code ends with the given characters.

    The amount is in whole units of its currency, and the time is in UTC.
    """

    payment_id: str
    order_code: str
    status: str
    amount: int
    currency: str
    created_at: datetime


class Replayed(NamedTuple):
    """A run that changed an event. ``published_before`` is the event's publishing time before the change, if any."""

    event_id: str
    run: Run
    published_before: datetime | None


@dataclass(frozen=True, slots=True)
class History:
    """All rows about one payment. If the database has only the payment's receipts or events, ``payment`` is None.

    ``closed_events`` contains the ids of the dead events of unknown types that count as closed.
    """

    payment: PaymentRow | None
    receipts: tuple[ReceiptRow, ...]
    events: tuple[EventRow, ...]
    replays: tuple[Replayed, ...]
    closings: tuple[Closing, ...] = ()
    closed_events: frozenset[str] = frozenset()

    @property
    def unsent_unknown(self) -> tuple[EventRow, ...]:
        """The unsent events of unknown types."""
        return tuple(each for each in self.events if each.state != "published" and is_unknown(each.event_type))

    @property
    def subject(self) -> str:
        """The name under which a closed finding is recorded.

        The subject is the payment's id or, without a payment, the gateway's name for the order. If the last callback
        does not contain this name, the id of its receipt is used.
        """
        if self.payment:
            return self.payment.id
        return self.receipts[-1].subject if self.receipts else self.events[-1].aggregate_id


def find(connection: Connection, name: str, max_retries: int) -> History | None:
    """Find the payment that ``name`` identifies. Return all rows about the payment, or None if nothing was found.

    ``name`` may be the id of a payment, event or callback, an order code, or a reference.
    """
    found = _named(connection, name) or _named(connection, _whole(connection, name))
    if found is None:
        return None
    payment_id, reference, order_ref, receipt_id = found
    payment = _payment(connection, payment_id)
    if payment is None:
        receipts = receipts_of(connection, payment_id, reference, order_ref, receipt_id)
    else:
        asked = {payment.id: [receipt_id] if receipt_id else []}
        receipts = receipts_of_payments(connection, asked)[payment.id]
    events = _events(connection, payment_id, payment, max_retries) if payment_id else ()
    if payment is None and not receipts and not events:
        return None  # a cleanup has deleted the receipt since
    replays = tuple(Replayed(*each) for each in runs.of_item(connection, [event.id for event in events]))
    return History(payment, receipts, events, replays, closings_of(connection, payment_id, receipts))


def event_named(connection: Connection, name: str) -> str | None:
    """Return the id of the event that ``name`` identifies, or None if it identifies something else.

    Raises:
        InputError: several ids begin with ``name``.
    """
    event_id = name if _named(connection, name) else _whole(connection, name)
    sql = "SELECT id FROM outbox WHERE id = %(id)s"
    return connection.exec_driver_sql(sql, {"id": event_id}).scalar_one_or_none()


def orders_ending_in(connection: Connection, ending: str) -> list[NearOrder]:
    """Return at most ten orders whose codes end with these characters in upper or lower case, latest first.

    If the characters are a complete code, only that order is returned. If there are fewer than four characters, the
    result is empty. No index supports this search, so the whole table is read.
    """
    if len(ending) < SHORTEST_ENDING:
        return []
    rows = connection.exec_driver_sql(
        """
        SELECT id, "orderCode", status::text, "amountCents", currency::text, "createdAt" FROM payments
        WHERE right(upper("orderCode"), length(%(ending)s)) = upper(%(ending)s)
        ORDER BY "createdAt" DESC, id LIMIT %(limit)s
        """,
        {"ending": ending, "limit": _MOST_NEAR},
    )
    found = [NearOrder(*map(aware_value, row)) for row in rows]
    whole = [order for order in found if len(order.order_code) == len(ending)]
    return whole if len(whole) == 1 else found


def _named(connection: Connection, name: str) -> Sequence[str | None] | None:
    parameters = {"name": name, "uuid": _uuid(name)}
    for sql in _BY_NAME:
        row = connection.exec_driver_sql(sql, parameters).first()
        if row is not None:
            return tuple(row)
    return None


def _whole(connection: Connection, name: str) -> str:
    """Return the id of a payment, event or callback that begins with ``name``, or ``name`` if no id does.

    Raises:
        InputError: several ids begin with ``name``.
    """
    tables = (("payments", False), ("outbox", False), ("payctl.webhook_receipts", True))
    found = {short_ids.whole(connection, table, [name], uuids=uuids)[0] for table, uuids in tables}
    return short_ids.only(name, sorted(found - {name}))


def _payment(connection: Connection, payment_id: str | None) -> PaymentRow | None:
    row = connection.exec_driver_sql(
        f"SELECT {PAYMENT} FROM payments WHERE id = %(id)s",  # noqa: S608 - built from constants only
        {"id": payment_id},
    ).one_or_none()
    if row is None:
        return None
    return PaymentRow(*map(aware_value, row))


def _events(
    connection: Connection, payment_id: str, payment: PaymentRow | None, max_retries: int
) -> tuple[EventRow, ...]:
    since = 'AND o."createdAt" >= %(since)s AND o.published IN (true, false)' if payment else ""
    rows = connection.exec_driver_sql(
        f"""
        SELECT o.id, o."aggregateId", o."eventType", {states.name("o.")}, {SUPERSEDED}, o."createdAt", o."publishedAt",
            o."retryCount", o."lastError", o.payload, {message_bytes("o.")}, {repeats()},
            o.xmin::text::bigint
        FROM outbox AS o WHERE o."aggregateId" = %(id)s {since} ORDER BY o."createdAt", o.id COLLATE "C"
        """,  # noqa: S608 - built from constants only
        {
            "id": payment_id,
            "max_retries": max_retries,
            "since": stored(payment.created_at - BEFORE_PAYMENT) if payment else None,
        },
    )
    return tuple(EventRow(*map(aware_value, row)) for row in rows)


def closings_of(connection: Connection, payment_id: str | None, receipts: Sequence[ReceiptRow]) -> tuple[Closing, ...]:
    """Return the closing records of a payment, or of the subject of one of its receipts, earliest first."""
    subjects = {payment_id or "", *(receipt.subject for receipt in receipts)} - {""}
    return tuple(closing for _, closing in runs.closings(connection, sorted(subjects)))


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None
