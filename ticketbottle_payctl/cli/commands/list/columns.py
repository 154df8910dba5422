"""Define each list's fields, the default fields of its table, and the table's columns on a terminal.

To add a field, add it to the SQL and the field names in the list's file in ``store/``, such as
``store/outbox/list_events.py``. Then add it to the columns in this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from ticketbottle_payctl.cli.output.narrow_table import Column, Row, ago, plain, short, when
from ticketbottle_payctl.formats import gateway_name, money
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.outbox.list_events import OUTBOX_FIELDS
from ticketbottle_payctl.store.payments.list_payments import PAYMENT_FIELDS
from ticketbottle_payctl.store.payments.list_receipts import RECEIPT_FIELDS


@dataclass(frozen=True, slots=True)
class Kind:
    """A list, with the name of its output, all its fields, and the fields that a table shows by default.

    ``narrow`` contains the columns on a terminal. ``noun`` is the word for a row, and ``state`` returns a row's state.
    """

    schema: str
    fields: tuple[str, ...]
    shown: tuple[str, ...]
    narrow: tuple[Column, ...]
    noun: str
    state: Callable[[Row], str]


def _money(row: Row, _zone: tzinfo, _now: datetime) -> str:
    amount = row.get("amount")
    return money(amount, str(row.get("currency") or "VND")) if isinstance(amount, int) else ""


def _error(row: Row, _zone: tzinfo, _now: datetime) -> str:
    return redact(str(row.get("last_error") or ""))


def _type(row: Row, _zone: tzinfo, _now: datetime) -> str:
    return str(row.get("event_type") or "").removeprefix("PAYMENT_")


def _state(row: Row) -> str:
    """Return an event's state. A pending event behind a dead event is blocked, and a dead event may be closed."""
    if row.get("closed"):
        return "closed"
    return "blocked" if row.get("blocked") else str(row.get("state") or "")


def _status(row: Row) -> str:
    """Return a payment's status, or "closed" if a person has closed the overdue payment."""
    return "closed" if row.get("closed") else str(row.get("status") or "")


def _order(row: Row, _zone: tzinfo, _now: datetime) -> str:
    """Return the order code of a callback's payment, or the gateway's own reference if the callback has no payment."""
    return str(row.get("order_code") or row.get("order_ref") or "")


def _result(row: Row) -> str:
    """Return payctl's decision on a callback, or "closed" if a person has closed the finding about the callback."""
    return "closed" if row.get("closed") else str(row.get("result") or "")


def _gateway(row: Row, _zone: tzinfo, _now: datetime) -> str:
    return gateway_name(str(row.get("provider") or ""))


_OUTBOX = (
    Column("order", plain("order_code"), 1),
    Column("state", lambda row, _zone, _now: _state(row), 0, styled=True),
    Column("event", _type, 4),
    Column("created", when("created_at"), 3, brief=ago("created_at")),
    Column("id", short("id"), 2),
    Column("last error", _error, 5, rest=True),
)
_PAYMENTS = (
    Column("order", plain("order_code"), 0),
    Column("status", lambda row, _zone, _now: _status(row), 1, styled=True),
    Column("amount", _money, 3, right=True),
    Column("created", when("created_at"), 4, brief=ago("created_at")),
    Column("id", short("id"), 2),
    Column("gateway", _gateway, 5),
)
_RECEIPTS = (
    Column("order", _order, 1),
    Column("result", lambda row, _zone, _now: _result(row), 0, styled=True),
    Column("received", when("received_at"), 3, brief=ago("received_at")),
    Column("id", short("id"), 2),
    Column("gateway", _gateway, 5),
    Column("amount", _money, 6, right=True),
    Column("reason", plain("reason"), 4),
)

OUTBOX = Kind(
    "payctl.list-outbox/1",
    OUTBOX_FIELDS,
    ("id", "order_code", "event_type", "state", "created_at", "last_error", "closed"),
    _OUTBOX,
    "event",
    _state,
)
PAYMENTS = Kind(
    "payctl.list-payments/1",
    PAYMENT_FIELDS,
    ("order_code", "status", "amount", "currency", "provider", "created_at", "id", "closed"),
    _PAYMENTS,
    "payment",
    _status,
)
RECEIPTS = Kind(
    "payctl.list-receipts/1",
    RECEIPT_FIELDS,
    ("id", "received_at", "provider", "outcome", "result", "reason", "order_code", "order_ref", "amount", "closed"),
    _RECEIPTS,
    "receipt",
    _result,
)
