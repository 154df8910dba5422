"""Say that an order code or a payment was given as the id of an event, and which command was meant."""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl.cli.output.result import Block, bold, line, warn
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.jobs.replay import Misnamed


def misnamed_sentence(found: Misnamed) -> str:
    """Return what the first wrong name is."""
    kinds = (
        *((name, "an order code") for name in found.order_codes),
        *((name, "a payment") for name in found.payments),
    )
    (name, kind), *others = kinds
    more = f", and so on ({len(kinds):,} in all)" if others else ""
    return f"{name} is {kind}, not the id of an event{more}"


def meant_command(found: Misnamed, adviser: Adviser) -> str | None:
    """Return the command that was meant, or None if every name was an id.

    If a replay of these orders would requeue nothing, it is the command that says why.
    """
    names = (*found.order_codes, *found.payments)
    if not names:
        first = found.unknown_orders[:1]
        return adviser.reading(["list", "payments"]) if first else None
    if not found.replayable:
        return adviser.reading(["show"], names[:1])
    options = [word for code in found.order_codes for word in ("--order-code", code)]
    # Different selectors narrow each other, so orders and payments need a command each.
    if not options:
        options = [word for payment in found.payments for word in ("--aggregate", payment)]
    return adviser.changing(["replay"], options=options, rows=found.replayable)


def misnamed_blocks(found: Misnamed, adviser: Adviser, *, said: bool) -> Iterator[Block]:
    """Yield the command, and the sentence unless it was ``said``. Nothing if every name was an id of an event."""
    command = meant_command(found, adviser)
    if command is None:
        return
    if (found.order_codes or found.payments) and not said:
        yield line(warn("!"), misnamed_sentence(found))
    why = "what was meant" if found.replayable else "a replay of it would requeue nothing; this says how it stands"
    yield line(bold("next:"), why if found.order_codes or found.payments else "the order codes that exist")
    yield line(f"  {command}")
