"""What asking a gateway about a payment needs, and what its answer can mean. Values only: nothing here is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ticketbottle_payctl.domain.callback import Callback, Outcome
from ticketbottle_payctl.providers import payload
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.queries.exchange import HttpRequest, HttpResponse

HTTP_OK = 200
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class NoVerdict(StrEnum):
    """Why an answer settles nothing."""

    PENDING = "pending"
    NOT_FOUND = "not_found"
    HELD = "held"
    REFUNDED = "refunded"
    PARTLY_PAID = "partly_paid"
    UNKNOWN_STATE = "unknown_state"
    BUSY = "busy"
    QUERY_REFUSED = "query_refused"
    SIGNATURE = "signature"
    MALFORMED = "malformed"
    OTHER_PAYMENT = "other_payment"


@dataclass(frozen=True, slots=True)
class Silent:
    """An answer that settles nothing. ``detail`` is constant text or the gateway's own code, never more of it."""

    because: NoVerdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The payment a gateway is asked about, and how this one question is told from others.

    ``reference`` is what the payment was created with, ``at`` now and ``created_at`` the payment's instant (UTC).
    ``request_id`` is new for every question: a repeated one is refused.
    """

    reference: str
    order_code: str
    amount: int
    created_at: datetime
    at: datetime
    request_id: str


Answer = Callback | Silent


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """One gateway's status query. ``read`` never raises, whatever the bytes are.

    ``needs`` are the credentials without which it cannot be asked; ``within`` how long after its creation a payment is
    known to it; ``hosts`` the base URLs for tests and for production, None where only the merchant knows.
    """

    gateway: str
    needs: tuple[str, ...]
    url_variable: str
    hosts: tuple[str, str | None]
    ask: Callable[[Asked, Credentials, str], HttpRequest]
    read: Callable[[HttpResponse, Asked, Credentials], Answer]
    within: timedelta | None = None


def post(url: str, fields: Mapping[str, object]) -> HttpRequest:
    """Return a POST request with a JSON body."""
    return HttpRequest("POST", url, JSON, json.dumps(fields, ensure_ascii=False).encode())


def read_json(response: HttpResponse) -> dict[str, object] | Silent:
    """The JSON object of an answer that came with status 200, or why there is none."""
    if response.status in {408, 425, 429} or response.status >= 500:  # noqa: PLR2004 - HTTP's "later" statuses
        return Silent(NoVerdict.BUSY, f"HTTP {response.status}")
    if response.status != HTTP_OK:
        return Silent(NoVerdict.QUERY_REFUSED, f"HTTP {response.status}")
    try:
        return payload.read_body(response.body)
    except MalformedError as error:
        return Silent(NoVerdict.MALFORMED, error.detail)


def verdict(
    gateway: str, asked: Asked, outcome: Outcome, amount: int | None, transaction_id: str | None = None
) -> Callback:
    """What a callback would have said. An end without money has the payment's amount where the answer has none."""
    if outcome is not Outcome.COMPLETED and not amount:
        amount = asked.amount
    return Callback(
        provider=gateway,
        outcome=outcome,
        reference=asked.reference,
        order_ref=asked.order_code,
        gateway_transaction_id=transaction_id,
        amount=payload.amount_of(amount),
    )


def number(value: object) -> int | None:
    """A number, or the same digits as a text."""
    return payload.digits(value) if isinstance(value, str) else payload.whole_number(value)


def identifier(value: object) -> str | None:
    """The gateway's own number of a payment; None where there is none."""
    found = number(value)
    return str(found) if found is not None and found > 0 else None
