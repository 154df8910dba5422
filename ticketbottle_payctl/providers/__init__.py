"""The gateways that payctl supports, and the choice of a gateway for a request."""

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
"""Every gateway by its name. Requests are matched against the gateways' formats in this order."""

_SPELLINGS = {spelling: gateway for gateway in GATEWAYS.values() for spelling in gateway.spellings}


def by_name(name: str) -> Gateway:
    """Return the gateway with this name, in any of its accepted spellings and any case.

    Raises:
        NotFoundError: no gateway has this name.
    """
    gateway = _SPELLINGS.get(name.casefold())
    if gateway is None:
        message = "no payment gateway has that name"
        raise NotFoundError(message, hint=f"one of: {', '.join(GATEWAYS)}")
    return gateway


def resolve(request: Request) -> Gateway | None:
    """Return the gateway of a request: the last path segment that names one, else the one whose format the request has.

    This only chooses the gateway that verifies the request. It proves nothing. A stage prefix, a trailing slash and
    the case of the path do not matter.
    """
    for segment in reversed(request.path.casefold().split("/")):
        if segment in _SPELLINGS:
            return _SPELLINGS[segment]
    return next((gateway for gateway in GATEWAYS.values() if gateway.recognises(request)), None)


def credentials(gateway: Gateway, lookup: Callable[[str], tuple[Secret, ...]]) -> Credentials:
    """Return a merchant's values for a gateway, found by the names of their environment variables."""
    return {field.name: lookup(field.env) for field in gateway.fields}
