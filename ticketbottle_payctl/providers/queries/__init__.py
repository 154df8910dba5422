"""Build the gateways' status queries about payments, and read the responses."""

from __future__ import annotations

from datetime import datetime

from ticketbottle_payctl.providers.queries import momo, payos, vnpay, zalopay
from ticketbottle_payctl.providers.queries.status_query import StatusQuery

QUERIES: dict[str, StatusQuery] = {
    query.gateway: query for query in (zalopay.QUERY, payos.QUERY, vnpay.QUERY, momo.QUERY)
}
"""The status query of each gateway, by the gateway's name."""


def known_since(now: datetime) -> dict[str, datetime]:
    """Return the creation time of the oldest payment that each gateway still answers queries about.

    A gateway whose documentation names no limit is left out. An older payment is only in the gateway's portal.
    """
    return {name: now - query.within for name, query in QUERIES.items() if query.within is not None}
