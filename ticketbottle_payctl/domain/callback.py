"""Define a gateway's callback: the received bytes, its verified meaning, and payctl's possible replies.

A :class:`Request` is not trusted. Only a provider's ``verify`` converts it to a :class:`Callback`, after checking the
signature over the received bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MAX_BODY_BYTES = 65_536
"""The maximum size of a body or a query string, in bytes, after base64 decoding. Gateways send less than 4 kB."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as it was received. The query string is still encoded, and the body is bytes."""

    method: str = "POST"
    path: str = ""
    query: str = ""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """The complete HTTP reply to a gateway."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Outcome(StrEnum):
    """The payment results that a genuine callback can report. IGNORED means that there is no final result."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    IGNORED = "IGNORED"


class IgnoredBecause(StrEnum):
    """The reasons why payctl ignores a genuine callback. An ignored callback does not change its payment."""

    PING = "ping"
    AGREEMENT = "agreement"
    PENDING = "pending"
    HELD = "held"
    REFUND = "refund"
    UNDOCUMENTED = "undocumented_code"


class RejectReason(StrEnum):
    """The reasons why payctl rejects a callback. payctl does not tell the gateway the reason."""

    SIGNATURE = "signature"
    MALFORMED = "malformed"
    OTHER_MERCHANT = "other_merchant"
    NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True, slots=True)
class OrderHint:
    """The parts of an order code that a gateway's order id contains: the date (YYYYMMDD) and the last five characters.

    Both fields are None if the id has a different format.
    """

    day: str | None = None
    tail: str | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """A genuine, well-formed callback for this merchant.

    payctl finds the payment by ``reference``, or by ``order_ref`` if no payment has this reference. No field contains
    the callback's own time, because payctl uses the database's clock.
    """

    provider: str
    outcome: Outcome
    reference: str
    """The id with which the payment was created, which is stored in ``payments."providerTransactionId"``.

    The gateways call this id ``app_trans_id`` (ZaloPay), ``paymentLinkId`` (PayOS), ``vnp_TxnRef`` (VNPay) and
    ``orderId`` (MoMo).
    """
    order_ref: str
    """The order code, or the gateway's id for the order if the callback does not contain the order code."""
    gateway_transaction_id: str | None
    """The gateway's transaction id with all its digits, or None if the gateway sends 0."""
    amount: int | None
    """The amount in whole VND, or None if the callback does not contain an amount."""
    currency: str = "VND"
    ignored_because: IgnoredBecause | None = None
    payment_number: str | None = None
    """The gateway's id for this money transfer. If a payment has two such ids, the customer paid twice.

    For most gateways, this id equals ``gateway_transaction_id``. The value is None if the callback does not contain
    such an id.
    """
    order_hint: OrderHint | None = None
    """A hint for finding the order, or None if the gateway sends the order code.

    The hint may match other orders too. payctl uses it if ``payments."providerTransactionId"`` has no index.
    """


class UnclearReason(StrEnum):
    """The reasons why payctl cannot settle a genuine callback without a status query."""

    UNREADABLE = "unreadable"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Unclear:
    """A callback that has a valid signature, but that payctl cannot act on.

    UNREADABLE: the content breaks a rule in the gateway's documentation. AMBIGUOUS: the signed text has two possible
    meanings. ``detail`` is a constant string and never quotes the callback. ``order_ref``, ``reference`` and
    ``order_hint`` are the same as in :class:`Callback`, or empty if payctl cannot read them. payctl uses these fields
    only to show the payment to the operator, never to settle it.
    """

    provider: str
    reason: UnclearReason
    detail: str
    order_ref: str = ""
    reference: str = ""
    order_hint: OrderHint | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A callback that is not genuine. ``detail`` is a constant string for operators and never quotes the callback."""

    provider: str | None
    reason: RejectReason
    detail: str


class Answer(StrEnum):
    """The kinds of replies that payctl can send to a gateway. Each gateway has its own text for each kind."""

    DONE = "done"
    DUPLICATE = "duplicate"
    UNKNOWN_ORDER = "unknown_order"
    WRONG_AMOUNT = "wrong_amount"
    BAD_SIGNATURE = "bad_signature"
    UNCLEAR = "unclear"
    NOT_CONFIGURED = "not_configured"
    IGNORED = "ignored"
    TRY_AGAIN = "try_again"
