"""How each gateway is asked for the status of a payment, or why it cannot be asked."""

from __future__ import annotations

from datetime import timedelta

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input.gateway_address import gateway_address
from ticketbottle_payctl.jobs.reconcile.status_poller import Exchange, StatusEndpoint
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.status_query import StatusQuery, StatusRequest


def status_endpoints(session: Session) -> dict[str, StatusEndpoint]:
    """Return every gateway's status endpoint: its credentials, and its address as configured or the usual one.

    Raises:
        ConfigError: an address is not a URL, or has no encryption.
    """
    return {name: _endpoint(session, query) for name, query in QUERIES.items()}


def _endpoint(session: Session, query: StatusQuery) -> StatusEndpoint:
    gateway = providers.by_name(query.gateway)
    credentials = session.services.credentials(gateway)
    variables = {field.name: field.env for field in gateway.fields}
    absent = [variables[name] for name in query.needs if not any(credentials.get(name, ()))]
    if absent:
        return StatusEndpoint(query, credentials, None, f"not set: {', '.join(absent)}")
    base = gateway_address(session, query)
    if base is None:
        return StatusEndpoint(query, credentials, None, f"not set: {query.url_variable}, which the gateway gives")
    return StatusEndpoint(query, credentials, _exchange(query, credentials, base))


def _exchange(query: StatusQuery, credentials: Credentials, base: str) -> Exchange:
    """Return the function that asks: httpx, or PayOS's own library, is loaded when it is first called."""
    ask = query.ask

    def by_payctl(asked: StatusRequest, timeout: timedelta) -> HttpResponse:
        from ticketbottle_payctl.http_client import send  # noqa: PLC0415 - httpx, only here

        assert ask is not None  # noqa: S101 - for the type checker
        return send(ask(asked, credentials, base), timeout)

    def by_its_own_library(asked: StatusRequest, timeout: timedelta) -> HttpResponse:
        from ticketbottle_payctl.payos_sdk import PayosAccount, payment_link  # noqa: PLC0415 - pydantic too, only here

        return payment_link(PayosAccount(base, credentials), asked.reference, timeout)

    return by_its_own_library if ask is None else by_payctl
