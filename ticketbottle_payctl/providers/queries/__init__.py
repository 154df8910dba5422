"""Build the gateways' status queries about payments, and read the responses."""

from __future__ import annotations

from ticketbottle_payctl.providers.queries import momo, payos, vnpay, zalopay
from ticketbottle_payctl.providers.queries.status_query import StatusQuery

QUERIES: dict[str, StatusQuery] = {
    query.gateway: query for query in (zalopay.QUERY, payos.QUERY, vnpay.QUERY, momo.QUERY)
}
"""The status query of each gateway, by the gateway's name."""
