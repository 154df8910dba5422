"""Find the base URL of a gateway. This module does not import a database driver."""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.http_address import checked_url
from ticketbottle_payctl.providers.queries.status_query import StatusQuery


def gateway_address(environ: Mapping[str, str], query: StatusQuery, *, production: bool) -> str | None:
    """Return the base URL in ``PAYCTL_{GATEWAY}_URL`` or, if this variable is not set, the gateway's own URL.

    Return None if the variable is not set and only the merchant knows the host.

    Raises:
        ConfigError: the configured value is not a URL, is not encrypted, or has a query or a fragment.
    """
    configured = environ.get(query.url_variable)
    if not configured:
        return query.hosts[production]
    try:
        parts = checked_url(configured)
    except InputError as error:
        message = f"{query.url_variable}: {error.message}"
        raise ConfigError(message, hint=error.hint) from error
    if parts.query or parts.fragment:
        message = f"{query.url_variable} must not have a query or a fragment"
        raise ConfigError(message)
    return configured.rstrip("/")
