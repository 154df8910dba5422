"""List the columns that payctl needs in the payment service's tables, and the privileges that each task needs."""

from __future__ import annotations

from ticketbottle_payctl.store.inspect.tables import Privilege

_TEXT, _TIME, _WHOLE = "text", "timestamp without time zone", "integer"
COLUMNS: dict[str, dict[str, str]] = {
    "payments": {
        "id": _TEXT,
        "orderCode": _TEXT,
        "amountCents": _WHOLE,
        "currency": "Currency",
        "provider": _TEXT,
        "providerTransactionId": _TEXT,
        "status": "PaymentStatus",
        "createdAt": _TIME,
        "updatedAt": _TIME,
        "completedAt": _TIME,
        "failedAt": _TIME,
        "cancelledAt": _TIME,
    },
    "outbox": {
        "id": _TEXT,
        "aggregateId": _TEXT,
        "aggregateType": _TEXT,
        "eventType": _TEXT,
        "payload": "jsonb",
        "published": "boolean",
        "publishedAt": _TIME,
        "createdAt": _TIME,
        "retryCount": _WHOLE,
        "lastError": _TEXT,
    },
}
SAME_TYPE = {"character varying": _TEXT, "bigint": _WHOLE}
"""Column types that payctl also accepts, each with the expected type that it can replace."""

STATUSES = ("PENDING", "COMPLETED", "FAILED", "CANCELLED")
WRITTEN = ("id", "aggregateId", "aggregateType", "eventType", "payload", "createdAt")
"""The columns that payctl writes in a new event. Every other column must have a default or accept NULL."""

_SETTLED = ("status", "updatedAt", "completedAt", "failedAt", "cancelledAt")
_MARKED = ("published", "publishedAt", "retryCount", "lastError")


def _all(table: str, *kinds: str) -> tuple[Privilege, ...]:
    return tuple(Privilege(table, kind) for kind in kinds)


def _each(table: str, kind: str, columns: tuple[str, ...]) -> tuple[Privilege, ...]:
    return tuple(Privilege(table, kind, column) for column in columns)


PRIVILEGES: dict[str, tuple[Privilege, ...]] = {
    "process-webhook": (
        *_all("payments", "SELECT"),
        *_each("payments", "UPDATE", _SETTLED),
        *_each("outbox", "INSERT", WRITTEN),
        *_all("payctl.webhook_receipts", "SELECT", "INSERT"),
        *_all("payctl.event_context", "INSERT"),
    ),
    "reconcile payments": (
        *_all("payments", "SELECT"),
        *_each("payments", "UPDATE", _SETTLED),
        *_each("outbox", "INSERT", WRITTEN),
        *_all("payctl.webhook_receipts", "INSERT"),
        *_all("payctl.event_context", "INSERT"),
        *_all("payctl.runs", "SELECT", "INSERT", "UPDATE"),
        *_all("payctl.run_items", "INSERT"),
    ),
    "publish-outbox": (
        *_all("outbox", "SELECT"),
        *_each("outbox", "UPDATE", _MARKED),
        *_all("payctl.event_context", "SELECT"),
        *_all("payctl.publishers", "SELECT", "INSERT", "UPDATE"),
    ),
    "stats": _all("outbox", "SELECT"),
    "stats --by provider": (*_all("outbox", "SELECT"), *_all("payments", "SELECT")),
    "list and show": (
        *_all("outbox", "SELECT"),
        *_all("payments", "SELECT"),
        *_all("payctl.webhook_receipts", "SELECT"),
        *_all("payctl.runs", "SELECT"),
        *_all("payctl.run_items", "SELECT"),
    ),
    "replay": (
        *_all("outbox", "SELECT"),
        *_all("payments", "SELECT"),
        *_each("outbox", "UPDATE", _MARKED),
        *_all("payctl.event_context", "SELECT", "INSERT", "UPDATE"),
        *_all("payctl.runs", "SELECT", "INSERT", "UPDATE"),
        *_all("payctl.run_chunks", "SELECT", "INSERT", "UPDATE"),
        *_all("payctl.run_items", "SELECT", "INSERT", "UPDATE"),
        *_all("payctl.publishers", "SELECT", "INSERT", "UPDATE"),
    ),
    "cleanup": (
        *_all("outbox", "SELECT", "DELETE"),
        *_each("outbox", "UPDATE", ("lastError",)),  # PostgreSQL requires an UPDATE privilege to lock a row
        *_all("payctl.event_context", "SELECT", "DELETE"),
    ),
    "watch-payments": (
        *_each("payments", "SELECT", ("provider", "status", "createdAt")),
        *_each("payctl.webhook_receipts", "SELECT", ("provider", "received_at")),
    ),
}
"""The privileges that each task needs. The doctor does not check tables that do not exist yet."""
