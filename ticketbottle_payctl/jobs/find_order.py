"""Find the payment of an order."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payments import history, overdue
from ticketbottle_payctl.store.payments.overdue import Unsettled

_LIMITS = Limits(statement=timedelta(seconds=5), lock=timedelta(seconds=3))
"""The lock limit is shorter, because only the error of a lock timeout says that another session holds a lock."""


def find_order(engine: Engine, order_code: str) -> Unsettled:
    """Return the payment with this order code, in any status.

    Raises:
        NotFoundError: no payment has this order code. The hint lists the order codes that end with the given text.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = overdue.named(connection, [order_code])
        near = [] if found else history.orders_ending_in(connection, order_code)
    if not found:
        message = "no payment has this order code"
        hint = f"order codes that end with this text: {', '.join(each.order_code for each in near)}" if near else None
        raise NotFoundError(message, hint=hint or "payctl list payments")
    return found[0]
