"""Show the state of an order, close its findings, and find all orders whose payments need manual review."""

from ticketbottle_payctl.jobs.order.close import OpenFindings, close_findings, find_open
from ticketbottle_payctl.jobs.order.judge_money import MAY_NEED_A_PERSON
from ticketbottle_payctl.jobs.order.may_be_closed import can_be_closed, is_too_early_to_close
from ticketbottle_payctl.jobs.order.model import (
    Advice,
    Amounts,
    Mark,
    NamedEvent,
    Remedy,
    SettledBy,
    Step,
    Timeline,
    Verdict,
    VerdictKind,
)
from ticketbottle_payctl.jobs.order.open_money import open_money
from ticketbottle_payctl.jobs.order.show import show

__all__ = [
    "MAY_NEED_A_PERSON",
    "Advice",
    "Amounts",
    "Mark",
    "NamedEvent",
    "OpenFindings",
    "Remedy",
    "SettledBy",
    "Step",
    "Timeline",
    "Verdict",
    "VerdictKind",
    "can_be_closed",
    "close_findings",
    "find_open",
    "is_too_early_to_close",
    "open_money",
    "show",
]
