"""Define the types for a status query and its response. This module does not send requests."""

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
    """The reasons why a response does not settle the payment."""

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
class Inconclusive:
    """A response that does not settle the payment. ``detail`` is a constant string or the gateway's own code."""

    because: NoVerdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """The facts about a payment that are needed for its gateway's status query.

    ``reference`` is the id with which the payment was created. ``created_at`` is when the payment was created, and
    ``at`` is the current time, both in UTC. ``request_id`` is new for every query, because gateways refuse repeated
    ids.
    """

    reference: str
    order_code: str
    amount: int
    created_at: datetime
    at: datetime
    request_id: str


Answer = Callback | Inconclusive


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """A gateway's status query. ``read`` never raises an exception, even for a malformed response.

    ``ask`` builds the request, or is None if the gateway's own library sends the query. ``needs`` are the required
    credentials. ``within`` is the maximum age at which the gateway still answers queries about a payment. ``hosts`` are
    the base URLs for tests and for production. The production URL is None if only the merchant knows it.
    """

    gateway: str
    needs: tuple[str, ...]
    url_variable: str
    hosts: tuple[str, str | None]
    ask: Callable[[StatusRequest, Credentials, str], HttpRequest] | None
    read: Callable[[HttpResponse, StatusRequest, Credentials], Answer]
    within: timedelta | None = None

    def knows(self, created_at: datetime, now: datetime) -> bool:
        """Return whether the gateway still answers queries about a payment that was created at ``created_at``."""
        return self.within is None or now - created_at < self.within


def post(url: str, fields: Mapping[str, object]) -> HttpRequest:
    """Return a POST request with a JSON body."""
    return HttpRequest("POST", url, JSON, json.dumps(fields, ensure_ascii=False).encode())


def read_json(response: HttpResponse) -> dict[str, object] | Inconclusive:
    """Return the JSON object in a response with status 200.

    For any other status, return Inconclusive with the reason.
    """
    if response.status in {408, 425, 429} or response.status >= 500:  # noqa: PLR2004 - HTTP's "try later"
        return Inconclusive(NoVerdict.BUSY, f"HTTP {response.status}")
    if response.status != HTTP_OK:
        return Inconclusive(NoVerdict.QUERY_REFUSED, f"HTTP {response.status}")
    try:
        return payload.read_body(response.body)
    except MalformedError as error:
        return Inconclusive(NoVerdict.MALFORMED, error.detail)


def verdict(
    gateway: str, asked: StatusRequest, outcome: Outcome, amount: int | None, transaction_id: str | None = None
) -> Callback:
    """Return the content of a response as a callback.

    If the payment was not paid and the response does not contain an amount, use the payment's amount.

    Raises:
        MalformedError: the amount is not a positive whole number of VND.
    """
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


def identifier(value: object) -> str | None:
    """Return the gateway's transaction id as a string, or None if it is missing."""
    found = payload.number_of(value)
    return str(found) if found is not None and found > 0 else None
