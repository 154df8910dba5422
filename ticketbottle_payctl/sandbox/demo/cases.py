"""Create orders to repair, for a demo that keeps running. Each order has a fault that also occurs in production."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import text

from ticketbottle_payctl import providers
from ticketbottle_payctl.jobs.process_webhook import process_webhook
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback
from ticketbottle_payctl.sandbox.demo.story import WRONG_AMOUNT_ORDER
from ticketbottle_payctl.sandbox.demo.world import LIMITS, World
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, insert_payment
from ticketbottle_payctl.store.db.engine import transaction

_HOUR: Final = timedelta(hours=1)
_TO_PAY: Final = timedelta(minutes=4)
_NO_CALLBACK_SINCE: Final = timedelta(minutes=45)

_LOSE_BROKER: Final = text("""
    UPDATE outbox SET "retryCount" = 5, "lastError" = 'KafkaJSConnectionError: Connection timeout'
    WHERE "aggregateId" = :id AND NOT published
""")
_PASS: Final = tuple(
    text(sql)
    for sql in (
        """
        UPDATE payments SET "createdAt" = "createdAt" - :by, "updatedAt" = "updatedAt" - :by,
            "completedAt" = "completedAt" - :by, "failedAt" = "failedAt" - :by
        WHERE id = :id
        """,
        """
        UPDATE outbox SET "createdAt" = "createdAt" - :by, payload = payload || (
            SELECT jsonb_object_agg(key, to_char(value::timestamp - :by, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
            FROM jsonb_each_text(payload) WHERE key IN ('completed_at', 'failed_at'))
        WHERE "aggregateId" = :id
        """,
        "UPDATE payctl.webhook_receipts SET received_at = received_at - :by WHERE payment_id = :id",
    )
)


class Fault(StrEnum):
    """The fault of an order. In each case, the customer has paid but has no ticket."""

    DEAD_EVENT = "dead_event"
    BLOCKED_PAYMENT = "blocked_payment"
    MISSING_CALLBACK = "missing_callback"
    WRONG_AMOUNT = "wrong_amount"


@dataclass(frozen=True, slots=True)
class Case:
    """An order to repair."""

    fault: Fault
    order_code: str


@dataclass(frozen=True, slots=True)
class Left:
    """The orders to repair, in the sequence in which to repair them, and the number of their dead and pending events.

    The demo's gateways answer status queries for ``payments``.
    """

    cases: tuple[Case, ...]
    dead: int
    pending: int
    payments: tuple[SandboxPayment, ...]

    @property
    def known(self) -> int:
        """The number of orders that the database shows as paid.

        If no callback arrived, only the gateway has a record of the payment.
        """
        return sum(case.fault is not Fault.MISSING_CALLBACK for case in self.cases)


def leave_cases(world: World) -> Left:
    """Create the orders to repair.

    The order with the wrong amount already exists, because the story includes its callback.
    """
    with transaction(world.services.engine, LIMITS) as connection:
        dead = insert_payment(connection, order_code="TB-DEAD", amount=600_000, age=_TO_PAY)
        blocked = insert_payment(connection, order_code="TB-BLOCKED", amount=750_000, provider="MOMO", age=_TO_PAY)
        missing = insert_payment(connection, order_code="TB-MISSING", amount=450_000, age=_NO_CALLBACK_SINCE)
    _receive(world, dead, Scenario.PAID)
    _receive(world, blocked, Scenario.FAILED)
    _lose_broker_and_wait(world, dead, blocked)
    _receive(world, blocked, Scenario.PAID)
    _wait(world, dead, blocked)
    cases = (
        Case(Fault.DEAD_EVENT, dead.order_code),
        Case(Fault.BLOCKED_PAYMENT, blocked.order_code),
        Case(Fault.MISSING_CALLBACK, missing.order_code),
        Case(Fault.WRONG_AMOUNT, WRONG_AMOUNT_ORDER),
    )
    return Left(cases, dead=2, pending=1, payments=(dead, blocked, missing))


def _receive(world: World, payment: SandboxPayment, scenario: Scenario) -> None:
    gateway = providers.by_name(payment.provider)
    process_webhook(world.services.engine, callback(payment, scenario), gateway, world.services.credentials(gateway))


def _lose_broker_and_wait(world: World, *payments: SandboxPayment) -> None:
    """Mark the payments' events as dead, as after a long outage of the broker. Move all timestamps into the past."""
    with transaction(world.services.engine, LIMITS) as connection:
        connection.execute(_LOSE_BROKER, [{"id": payment.id} for payment in payments])
    _wait(world, *payments)


def _wait(world: World, *payments: SandboxPayment) -> None:
    """Move the timestamps in the payments' rows, events and receipts an hour into the past."""
    with transaction(world.services.engine, LIMITS) as connection:
        for statement in _PASS:
            connection.execute(statement, [{"id": payment.id, "by": _HOUR} for payment in payments])
