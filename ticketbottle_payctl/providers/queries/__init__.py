"""The gateways' status queries: ask a gateway about a payment, and interpret its response."""

from __future__ import annotations

from ticketbottle_payctl.providers.queries import momo, payos, vnpay, zalopay
from ticketbottle_payctl.providers.queries.status_query import StatusQuery

QUERIES: dict[str, StatusQuery] = {
    query.gateway: query for query in (zalopay.QUERY, payos.QUERY, vnpay.QUERY, momo.QUERY)
}
"""Every status query by the gateway's name."""
