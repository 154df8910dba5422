"""Define the gateways' callbacks in the demo, and their expected results.

Two of the callbacks were recorded from the gateways' own sandboxes. The demo signs the other callbacks with public test
keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from ticketbottle_payctl.domain.callback import Answer, Request
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, insert_payment

WRONG_AMOUNT_ORDER: Final = "TB-AMOUNT"
"""The code of the order whose callback has a wrong amount."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected result of a callback. ``status`` is the payment's status at the end."""

    outcome: WebhookOutcome
    answer: Answer
    status: str
    reason: str | None = None

    @property
    def writes_event(self) -> bool:
        """Return whether an event is written for the callback. Every change of status writes exactly one event."""
        return self.outcome is WebhookOutcome.SETTLED


@dataclass(frozen=True, slots=True)
class Scene:
    """A callback and its expected result.

    ``says`` is what the callback reports, and ``about`` describes its real origin.
    """

    payment: SandboxPayment
    says: str
    about: str
    request: Request
    expected: Expected
    paid: int = 0
    """The amount that the customer has paid, in VND."""

    @property
    def failed(self) -> bool:
        """Return whether the payment failed or was cancelled."""
        return self.expected.status in {"FAILED", "CANCELLED"}


COMPLETED = Expected(WebhookOutcome.SETTLED, Answer.DONE, "COMPLETED")
FAILED = replace(COMPLETED, status="FAILED")
CANCELLED = replace(COMPLETED, status="CANCELLED")
DUPLICATE = Expected(WebhookOutcome.ALREADY_SETTLED, Answer.DUPLICATE, "COMPLETED")
FORGED = Expected(WebhookOutcome.REFUSED, Answer.BAD_SIGNATURE, "PENDING", "signature")
WRONG_AMOUNT = Expected(WebhookOutcome.REFUSED, Answer.WRONG_AMOUNT, "PENDING", "wrong_amount")


def write_story(connection: Connection) -> list[Scene]:
    """Insert the pending payments as the payment service does. Return their callbacks in the order of arrival."""
    recorded = insert_payment(
        connection,
        provider="ZALOPAY",
        order_code="TB-LTDTNL-20251213-8D39986M",
        reference="251213_TB-LTDTNL-20251213-8D39986M",
        amount=7_200_000,
    )
    paid = insert_payment(connection, provider="PAYOS", amount=450_000)
    failed = insert_payment(connection, provider="VNPAY", amount=980_000)
    declined = insert_payment(connection, provider="MOMO", reference="1726217371", amount=17_500)
    forged = insert_payment(connection, provider="VNPAY", amount=1_250_000)
    mistaken = insert_payment(connection, provider="PAYOS", order_code=WRONG_AMOUNT_ORDER, amount=320_000)
    capture = sample("zalopay").request
    return [
        Scene(
            recorded,
            "paid 7,200,000 VND",
            "recorded from ZaloPay's sandbox, signed by ZaloPay",
            capture,
            COMPLETED,
            paid=7_200_000,
        ),
        Scene(
            paid,
            "paid 450,000 VND",
            "signed here with the key in PayOS's documentation",
            callback(paid),
            COMPLETED,
            paid=450_000,
        ),
        Scene(
            failed,
            "980,000 VND not paid",
            "not enough money; signed here with a test secret",
            callback(failed, Scenario.FAILED),
            FAILED,
        ),
        Scene(
            declined,
            "17,500 VND not paid",
            "recorded from MoMo's sandbox: the customer declined",
            sample("momo-declined").request,
            CANCELLED,
        ),
        Scene(
            recorded,
            "paid 7,200,000 VND",
            "the first one again: gateways repeat callbacks",
            capture,
            DUPLICATE,
            paid=7_200_000,
        ),
        Scene(
            forged,
            "paid 1,250,000 VND",
            "a forgery: signed with a wrong secret",
            callback(forged, Scenario.BAD_SIGNATURE),
            FORGED,
        ),
        Scene(
            mistaken,
            "paid 321,000 VND",
            "genuine, but 1,000 VND more than the order's amount",
            callback(mistaken, Scenario.WRONG_AMOUNT),
            WRONG_AMOUNT,
            paid=321_000,
        ),
    ]
