"""A gateway's callback: the bytes that arrived, what they say once proven genuine, and what we answer.

Nothing here trusts the sender. A :class:`Request` is raw; only a provider's ``verify`` turns it into a
:class:`Callback`, and it does so after the signature over the received bytes held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MAX_BODY_BYTES = 65_536
"""Largest body or query string read, in bytes after base64. Gateways send less than 4 kB."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it was received: the query string still encoded, the body still bytes."""

    method: str = "POST"
    path: str = ""
    query: str = ""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the gateway gets back, word for word."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Outcome(StrEnum):
    """What a genuine callback says about its payment."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    IGNORED = "IGNORED"


class IgnoredBecause(StrEnum):
    """Why a genuine callback changes no payment."""

    PING = "ping"
    AGREEMENT = "agreement"
    PENDING = "pending"
    HELD = "held"
    REFUND = "refund"
    UNDOCUMENTED = "undocumented_code"


class RejectReason(StrEnum):
    """Why a callback is not believed. The gateway never learns which one it was."""

    SIGNATURE = "signature"
    MALFORMED = "malformed"
    OTHER_MERCHANT = "other_merchant"
    NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True, slots=True)
class Callback:
    """A genuine callback, meant for this merchant and well formed.

    ``reference`` is what the payment was created with (``payments."providerTransactionId"``): ZaloPay
    ``app_trans_id``, PayOS ``paymentLinkId``, VNPay ``vnp_TxnRef``, MoMo ``orderId``. ``order_ref`` is the
    order as the gateway names it. ``gateway_transaction_id`` is the gateway's own number, exact however long,
    or None where it sends 0. ``amount`` is whole VND, None only for a callback that is about no amount.
    """

    provider: str
    outcome: Outcome
    reference: str
    order_ref: str
    gateway_transaction_id: str | None
    amount: int | None
    currency: str = "VND"
    ignored_because: IgnoredBecause | None = None
    payment_number: str | None = None
    """The number of this one transfer of money; two numbers for one payment are two transfers."""


class UnclearReason(StrEnum):
    """Why a genuine callback cannot be settled without asking the gateway."""

    UNREADABLE = "unreadable"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Unclear:
    """A callback whose signature holds, but whose content payctl cannot act on.

    UNREADABLE: the content breaks a rule of the gateway's documentation. AMBIGUOUS: the signed text can be read as two
    different callbacks. ``detail`` is constant text, never a quotation. ``order_ref`` is the order as far as it can be
    read, else an empty text.
    """

    provider: str
    reason: UnclearReason
    detail: str
    order_ref: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not believed. ``detail`` is for our own people: constant text, never a quotation of the body."""

    provider: str | None
    reason: RejectReason
    detail: str


class Answer(StrEnum):
    """Everything payctl may have to say to a gateway; each provider words each of them."""

    DONE = "done"
    DUPLICATE = "duplicate"
    UNKNOWN_ORDER = "unknown_order"
    WRONG_AMOUNT = "wrong_amount"
    BAD_SIGNATURE = "bad_signature"
    UNCLEAR = "unclear"
    NOT_CONFIGURED = "not_configured"
    IGNORED = "ignored"
    TRY_AGAIN = "try_again"
