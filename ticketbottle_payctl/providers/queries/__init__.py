"""The gateways' status queries: how each is asked what became of a payment, and what its answer means."""

from __future__ import annotations

from ticketbottle_payctl.providers.queries import momo, payos, vnpay, zalopay
from ticketbottle_payctl.providers.queries.model import StatusQuery

QUERIES: dict[str, StatusQuery] = {
    query.gateway: query for query in (zalopay.QUERY, payos.QUERY, vnpay.QUERY, momo.QUERY)
}
"""By the gateway's name."""
