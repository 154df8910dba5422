"""The gateways' status queries: how payctl asks each gateway about a payment, and what the answer means."""

from __future__ import annotations

from ticketbottle_payctl.providers.queries import momo, payos, vnpay, zalopay
from ticketbottle_payctl.providers.queries.status_query import StatusQuery

QUERIES: dict[str, StatusQuery] = {
    query.gateway: query for query in (zalopay.QUERY, payos.QUERY, vnpay.QUERY, momo.QUERY)
}
"""Every status query by the gateway's name."""
