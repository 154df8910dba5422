"""Where each gateway is asked for the status of a payment, or why it cannot be asked."""

from __future__ import annotations

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.http_address import checked_url
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusEndpoint
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.status_query import StatusQuery


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
    base = _base(session, query)
    return StatusEndpoint(
        query, credentials, base, "" if base else f"not set: {query.url_variable}, which the gateway gives"
    )


def _base(session: Session, query: StatusQuery) -> str | None:
    configured = session.services.environ.get(query.url_variable)
    if not configured:
        return query.hosts[session.settings.is_production]
    try:
        parts = checked_url(configured)
    except InputError as error:
        message = f"{query.url_variable}: {error.message}"
        raise ConfigError(message, hint=error.hint) from error
    if parts.query or parts.fragment:
        message = f"{query.url_variable} must not have a query or a fragment"
        raise ConfigError(message)
    return configured.rstrip("/")
