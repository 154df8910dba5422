"""Find each gateway's status endpoint, or the reason why the gateway cannot be queried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from ticketbottle_payctl import providers
from ticketbottle_payctl.jobs.reconcile.address import gateway_address
from ticketbottle_payctl.jobs.reconcile.status_poller import Exchange, StatusEndpoint
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.status_query import StatusQuery, StatusRequest


def status_endpoints(
    environ: Mapping[str, str], credentials: Callable[[Gateway], Credentials], *, production: bool
) -> dict[str, StatusEndpoint]:
    """Return every gateway's status endpoint with its credentials. A configured address replaces the default address.

    Raises:
        ConfigError: an address is not a URL, or does not use encryption.
    """
    return {name: _endpoint(environ, credentials, query, production=production) for name, query in QUERIES.items()}


def _endpoint(
    environ: Mapping[str, str],
    credentials_of: Callable[[Gateway], Credentials],
    query: StatusQuery,
    *,
    production: bool,
) -> StatusEndpoint:
    gateway = providers.by_name(query.gateway)
    credentials = credentials_of(gateway)
    variables = {field.name: field.env for field in gateway.fields}
    absent = [variables[name] for name in query.needs if not any(credentials.get(name, ()))]
    if absent:
        return StatusEndpoint(query, credentials, None, f"not set: {', '.join(absent)}")
    base = gateway_address(environ, query, production=production)
    if base is None:
        return StatusEndpoint(query, credentials, None, f"not set: {query.url_variable}; ask the gateway for its URL")
    return StatusEndpoint(query, credentials, _exchange(query, credentials, base))


def _exchange(query: StatusQuery, credentials: Credentials, base: str) -> Exchange:
    """Return the function that queries the gateway. The first call imports httpx or PayOS's own library."""
    ask = query.ask

    def by_payctl(asked: StatusRequest, timeout: timedelta) -> HttpResponse:
        from ticketbottle_payctl.http_client import send  # noqa: PLC0415 - httpx, only here

        assert ask is not None  # noqa: S101 - for the type checker
        return send(ask(asked, credentials, base), timeout)

    def by_its_own_library(asked: StatusRequest, timeout: timedelta) -> HttpResponse:
        from ticketbottle_payctl.payos_sdk import PayosAccount, payment_link  # noqa: PLC0415 - pydantic too, only here

        return payment_link(PayosAccount(base, credentials), asked.reference, timeout)

    return by_its_own_library if ask is None else by_payctl
