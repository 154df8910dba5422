"""Explain that an order code or a payment id was given as an event id, and suggest the right command."""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl.cli.output.result import Block, bold, line, warn
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.jobs.replay import Misnamed


def misnamed_sentence(found: Misnamed) -> str:
    """Return a sentence that says whether the first wrong id is an order code or a payment id."""
    kinds = (
        *((name, "an order code") for name in found.order_codes),
        *((name, "a payment") for name in found.payments),
    )
    (name, kind), *others = kinds
    more = f", and so on ({len(kinds):,} in all)" if others else ""
    return f"{name} is {kind}, not the id of an event{more}"


def meant_command(found: Misnamed, adviser: Adviser) -> str | None:
    """Return the right command, or None if no order code or payment id was given.

    If a replay of these orders would not requeue any events, return the command that shows the reason.
    """
    names = (*found.order_codes, *found.payments)
    if not names:
        first = found.unknown_orders[:1]
        return adviser.reading(["list", "payments"]) if first else None
    if not found.replayable:
        return adviser.reading(["show"], names[:1])
    options = [word for code in found.order_codes for word in ("--order-code", code)]
    # A command cannot select orders and payments together, because an event must match all selectors.
    if not options:
        options = [word for payment in found.payments for word in ("--aggregate", payment)]
    return adviser.changing(["replay"], options=options, rows=found.replayable)


def misnamed_blocks(found: Misnamed, adviser: Adviser, *, said: bool) -> Iterator[Block]:
    """Yield the right command. If no order code or payment id was given, yield nothing.

    Unless ``said`` is True, yield the sentence first.
    """
    command = meant_command(found, adviser)
    if command is None:
        return
    if (found.order_codes or found.payments) and not said:
        yield line(warn("!"), misnamed_sentence(found))
    why = (
        "the right command"
        if found.replayable
        else "a replay would requeue nothing; this command shows the order's state"
    )
    yield line(bold("next:"), why if found.order_codes or found.payments else "the order codes that exist")
    yield line(f"  {command}")
