"""Find gateways whose callbacks have stopped arriving although customers create new payments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payments import health as store

OVERDUE_AFTER = timedelta(minutes=30)
"""The age at which an unsettled payment becomes overdue. Most gateways close the payment page after 15 minutes."""

WINDOW = timedelta(hours=1)
"""The measured period. A measurement covers the payments that reached :data:`OVERDUE_AFTER` in the last hour."""

FEWEST = 5
"""The minimum number of payments for a measurement. A few payments without a callback may just be unpaid."""

_LIMITS = Limits(statement=timedelta(seconds=20))


@dataclass(frozen=True, slots=True)
class GatewayWatch:
    """The measurements of one gateway.

    ``overdue`` is the number of overdue payments in the window. ``unsettled_percent`` is their percentage of all
    payments in the window. ``silent_s`` is the age in seconds, at most a day, of the oldest payment that was created
    after the last genuine callback. ``unsettled_percent`` and ``silent_s`` are 0 if the gateway has too few payments.
    """

    gateway: str
    overdue: int
    unsettled_percent: float
    silent_s: float


def watch_payments(engine: Engine) -> list[GatewayWatch]:
    """Return the measurements for each known gateway that has payments from the last day.

    Raises:
        DatabaseUnavailableError: the database cannot be reached, or the payments were not read within 20 seconds.
        ConfigError: payctl's schema or a privilege is missing.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = store.health(connection, after=OVERDUE_AFTER, window=WINDOW)
    return [
        GatewayWatch(
            gateway=one.gateway,
            overdue=one.overdue,
            unsettled_percent=round(100 * one.overdue / one.due, 1) if one.due >= FEWEST else 0.0,
            silent_s=(one.silent_s or 0.0) if one.created_since >= FEWEST else 0.0,
        )
        for one in found
        if one.gateway in GATEWAYS
    ]
