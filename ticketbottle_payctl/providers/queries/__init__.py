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
    """Return, for each gateway, the creation time of the oldest payment that the gateway still answers queries about.

    Gateways without a documented limit are left out. Older payments are only in the gateway's portal.
    """
    return {name: now - query.within for name, query in QUERIES.items() if query.within is not None}
