"""Describe the orders that a user of ``demo --keep`` can repair, and the commands that find and repair each fault."""

from __future__ import annotations

from dataclasses import dataclass

from ticketbottle_payctl.formats import PLACEHOLDER, command_line
from ticketbottle_payctl.sandbox.demo import Case, Fault


@dataclass(frozen=True, slots=True)
class CaseWords:
    """The description of an order's fault, the command that finds the fault, and the command that repairs the order.

    If no command can repair the order, ``play`` simulates what the customer does, and ``repair`` then closes the order.
    """

    says: str
    find: str
    repair: str
    play: str | None = None


def case_words(case: Case) -> CaseWords:
    """Return the description of an order's fault, with the two commands."""
    match case.fault:
        case Fault.DEAD_EVENT:
            return CaseWords("its event is dead: Kafka was unavailable", "payctl errors", "payctl replay --failed")
        case Fault.BLOCKED_PAYMENT:
            return CaseWords(
                "its event waits behind a dead one",
                f"payctl show {case.order_code}",
                "payctl publish-outbox --on-dead release",
            )
        case Fault.MISSING_CALLBACK:
            return CaseWords(
                "its callback never arrived: only the gateway knows it was paid",
                "payctl list payments --stuck --age 20m",
                "payctl reconcile payments",
            )
        case Fault.WRONG_AMOUNT:
            return CaseWords(
                "paid 321,000 VND, but the order is for 320,000 VND",
                "payctl list receipts --failed",
                command_line(["close"], [case.order_code], ["--reason", PLACEHOLDER]),
                play=f"payctl simulate payos paid --order-code {case.order_code} --to process-webhook",
            )
