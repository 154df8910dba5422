"""Find gateways whose callbacks no longer arrive: payments are created, but no callback settles them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payments import health as store

OVERDUE_AFTER = timedelta(minutes=30)
"""The age at which a payment should be settled. Most gateways close the payment page after 15 minutes."""

WINDOW = timedelta(hours=1)
"""How long a payment counts as due after :data:`OVERDUE_AFTER`. So each measurement covers one hour of payments."""

FEWEST = 5
"""The minimum number of payments for a judgement, because gateways send no callback for unpaid ones."""

_LIMITS = Limits(statement=timedelta(seconds=20))


@dataclass(frozen=True, slots=True)
class GatewayWatch:
    """The measures of one gateway. ``unsettled_percent`` and ``silent_s`` are 0 if there are too few payments.

    ``silent_s`` is how long payments have been created without a genuine callback, in seconds. It is at most a day.
    """

    gateway: str
    overdue: int
    unsettled_percent: float
    silent_s: float


def watch_payments(engine: Engine) -> list[GatewayWatch]:
    """Return the measures of each known gateway that has payments from the last day. Change nothing.

    Raises:
        DatabaseUnavailableError: the database cannot be reached, or the payments were not read within 20 seconds.
        ConfigError: payctl's schema or a permission is missing.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = store.health(connection, after=OVERDUE_AFTER, window=WINDOW)
    return [
        GatewayWatch(
            gateway=one.gateway,
            overdue=one.overdue,
            unsettled_percent=round(100 * one.overdue / one.due, 1) if one.due >= FEWEST else 0.0,
            silent_s=round(one.silent_s or 0.0, 3) if one.created_since >= FEWEST else 0.0,
        )
        for one in found
        if one.gateway in GATEWAYS
    ]
