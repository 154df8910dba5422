"""Find an order by an id, its order code, or the code's last characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.formats import command_line, count, money
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.payments import history
from ticketbottle_payctl.store.payments.history import History, NearOrder
from ticketbottle_payctl.store.payments.similar_codes import similar_codes

_LISTS = "`payctl list payments`, `payctl list outbox` and `payctl list receipts` show ids and order codes"


def find(connection: Connection, name: str, max_retries: int) -> History:
    """Return the history of the order with this id, order code, or last characters of its code. Ignore the code's case.

    Raises:
        NotFoundError: no order matches ``name``. The hint suggests order codes that differ from ``name`` by one typing
            error.
        InputError: several order codes end with ``name``, or one order code ends with ``name``, and ``name`` is also
            the code of a callback without a payment. The message lists the order codes.
    """
    found = history.find(connection, name, max_retries)
    if found is None:
        found = _ending_in(connection, name, max_retries)
    elif found.payment is None:
        _refuse_if_ambiguous(connection, name, found)
    closed = dead.closed_among(connection, [each.id for each in found.unsent_unknown], max_retries)
    return replace(found, closed_events=closed)


def _refuse_if_ambiguous(connection: Connection, name: str, found: History) -> None:
    """Raise an error if ``name`` is both the code of a callback without a payment and the end of an order code."""
    stray = [receipt.id for receipt in found.receipts if receipt.order_ref == name]
    near = history.orders_ending_in(connection, name) if stray else []
    if near:
        message = f"{name} is the code of a callback without a payment, and also the end of {_listed(near)}"
        looks = [f"`{command_line(['show'], [each])}`" for each in (near[0].order_code, stray[-1])]
        raise InputError(message, hint=f"give the whole order code or the callback's id: {' or '.join(looks)}")


def _listed(near: Sequence[NearOrder]) -> str:
    return "; ".join(f"{each.order_code} ({each.status}, {money(each.amount, each.currency)})" for each in near)


def _similar(connection: Connection, name: str) -> str | None:
    codes = similar_codes(connection, name)
    if not codes:
        return None
    look = f"`{command_line(['show'], codes[:1])}`"
    if len(codes) == 1:
        return f"a similar order code exists: {look}"
    return f"similar order codes exist: {', '.join(codes)}; give the right one, such as {look}"


def _ending_in(connection: Connection, name: str, max_retries: int) -> History:
    near = history.orders_ending_in(connection, name)
    if not near:
        message = "no payment, event or callback has this id, and no order code equals it"
        if len(name) < history.SHORTEST_ENDING:
            message += f"; to search for the end of an order code, give at least {history.SHORTEST_ENDING} characters"
        else:
            message += " or ends with it"
        raise NotFoundError(message, hint=_similar(connection, name) or _LISTS)
    found = history.find(connection, near[0].payment_id, max_retries) if len(near) == 1 else None
    if found is None:
        message = f"{count(len(near), 'order code')} end in {name}, latest first: {_listed(near)}"
        raise InputError(message, hint=f"give the whole code: `{command_line(['show'], [near[0].order_code])}`")
    return found
