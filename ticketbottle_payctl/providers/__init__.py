"""List the gateways that payctl supports, and choose the gateway for a request."""

from __future__ import annotations

from collections.abc import Callable

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.providers import momo, payos, vnpay, zalopay
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.secret import Secret

GATEWAYS: dict[str, Gateway] = {
    gateway.name: gateway for gateway in (zalopay.GATEWAY, payos.GATEWAY, vnpay.GATEWAY, momo.GATEWAY)
}
"""All gateways, by name. :func:`resolve` compares a request with the gateways' formats in this order."""

_SPELLINGS = {spelling: gateway for gateway in GATEWAYS.values() for spelling in gateway.spellings}


def by_name(name: str) -> Gateway:
    """Return the gateway with this name. Accept all known spellings of the name, in upper or lower case.

    Raises:
        NotFoundError: no gateway has this name.
    """
    gateway = _SPELLINGS.get(name.casefold())
    if gateway is None:
        message = "no payment gateway has that name"
        raise NotFoundError(message, hint=f"one of: {', '.join(GATEWAYS)}")
    return gateway


def resolve(request: Request) -> Gateway | None:
    """Return the gateway that must verify a request, or None if neither its path nor its format identifies a gateway.

    The last path segment that is a gateway's name decides. If the path does not contain such a segment, the request's
    format decides. A stage prefix, a trailing slash and the case of the path do not matter. The result does not prove
    that the request is genuine.
    """
    for segment in reversed(request.path.casefold().split("/")):
        if segment in _SPELLINGS:
            return _SPELLINGS[segment]
    return next((gateway for gateway in GATEWAYS.values() if gateway.recognises(request)), None)


def credentials(gateway: Gateway, lookup: Callable[[str], tuple[Secret, ...]]) -> Credentials:
    """Return the merchant's credentials for a gateway. ``lookup`` reads the values of an environment variable."""
    return {field.name: lookup(field.env) for field in gateway.fields}
