"""Read and write ``payctl.webhook_receipts``, which contains each genuine callback and payctl's decision on it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ticketbottle_payctl.domain.callback import Callback, Request, Unclear
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.engine import fetch

INSERT = """
    INSERT INTO payctl.webhook_receipts
        (id, provider, order_ref, reference, gateway_transaction_id, amount, currency, outcome, result, reason,
         method, path, query, body, body_sha256, payment_id, event_id, correlation_id, traceparent, payment_number)
    VALUES (%(receipt_id)s, %(provider)s, %(order_ref)s, %(reference)s, %(gateway_transaction_id)s, %(amount)s,
            %(currency)s, %(outcome)s, %(result)s, %(reason)s, %(method)s, %(path)s, %(query)s, %(body)s,
            %(body_sha256)s, %(payment_id)s, %(event_id)s, %(correlation_id)s, %(traceparent)s, %(payment_number)s)
"""

# The subquery sees only receipts that existed before this one. Receipts of older versions have no payment_number.
_STORE = f"""
WITH stored AS ({INSERT} RETURNING payment_id, outcome, payment_number)
SELECT EXISTS (
    SELECT FROM payctl.webhook_receipts AS earlier JOIN stored ON earlier.payment_id = stored.payment_id
    WHERE stored.outcome = 'COMPLETED' AND earlier.outcome = 'COMPLETED'
      AND earlier.result IN ('settled', 'already_settled')
    HAVING bool_or(earlier.payment_number <> stored.payment_number)
      AND bool_and(earlier.payment_number IS DISTINCT FROM stored.payment_number))
"""  # noqa: S608 - a constant of ours
UNCLEAR = "UNCLEAR"
"""The outcome in the receipt for a genuine callback that only a status query or an operator can settle."""

STATUS_QUERY = "RECONCILE"
"""The value of ``method`` in a receipt for the response to a status query. Gateways never use this HTTP method."""

_REQUEST = "SELECT provider, method, path, query, body FROM payctl.webhook_receipts WHERE id = %(id)s::uuid"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A genuine callback and payctl's decision on it. ``result`` and ``reason`` are values of the job's enums."""

    id: str
    callback: Callback | Unclear
    request: Request
    result: str
    reason: str | None = None
    payment_id: str | None = None
    event_id: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """The request in a receipt, which payctl can process again."""

    receipt_id: str
    provider: str
    request: Request


def store(connection: Connection, receipt: Receipt) -> bool:
    """Store the receipt for a callback that left its payment unchanged.

    Return True if this receipt is the first sign of a second transfer of money for the payment. In this case, earlier
    receipts for the payment report a success, but under other ``payment_number`` values.
    """
    ((second,),) = fetch(connection, _STORE, parameters(receipt))
    return bool(second)


def require(connection: Connection) -> None:
    """Raise an error if the table is missing or the role is not allowed to read it. No rows are read."""
    connection.exec_driver_sql("SELECT FROM payctl.webhook_receipts LIMIT 0")


def find_request(connection: Connection, receipt_id: str) -> StoredRequest | None:
    """Return the request in a stored receipt, or None if the receipt does not exist. ``receipt_id`` may be a short id.

    Raises:
        InputError: the ids of several receipts begin with ``receipt_id``.
    """
    (whole,) = short_ids.whole(connection, "payctl.webhook_receipts", [receipt_id], uuids=True)
    try:
        wanted = UUID(whole)
    except ValueError:
        return None
    row = connection.exec_driver_sql(_REQUEST, {"id": str(wanted)}).one_or_none()
    if row is None:
        return None
    provider, method, path, query, body = row
    return StoredRequest(str(wanted), provider, Request(method, path, query, bytes(body)))


def parameters(receipt: Receipt) -> dict[str, Any]:
    """Return the parameters for :data:`INSERT`. The statement that settles a payment uses the same parameters."""
    request = receipt.request
    return _content(receipt.callback) | {
        "receipt_id": receipt.id,
        "result": receipt.result,
        "reason": receipt.reason,
        "method": _text(request.method),
        "path": _text(request.path),
        "query": _text(request.query),
        "body": request.body,
        "body_sha256": sha256(request.body or request.query.encode("utf-8", "surrogatepass")).digest(),
        "payment_id": receipt.payment_id,
        "event_id": receipt.event_id,
        "correlation_id": receipt.correlation_id and _text(receipt.correlation_id),
        "traceparent": receipt.traceparent and _text(receipt.traceparent),
    }


def _content(callback: Callback | Unclear) -> dict[str, Any]:
    if isinstance(callback, Unclear):
        return {
            "provider": callback.provider,
            "order_ref": callback.order_ref,
            "reference": callback.reference,
            "gateway_transaction_id": None,
            "amount": None,
            "currency": "VND",
            "outcome": UNCLEAR,
            "payment_number": None,
        }
    return {
        "provider": callback.provider,
        "order_ref": callback.order_ref,
        "reference": callback.reference,
        "gateway_transaction_id": callback.gateway_transaction_id,
        "amount": callback.amount,
        "currency": callback.currency,
        "outcome": callback.outcome.value,
        "payment_number": callback.payment_number,
    }


def _text(value: str) -> str:
    """Replace NUL and lone surrogates, which PostgreSQL cannot store. Signed parts never contain these characters."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
