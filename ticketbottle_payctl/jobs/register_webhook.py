"""Enter the address of the webhook at PayOS, which has no other way but its portal."""

from __future__ import annotations

from collections.abc import Callable

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers.queries import payos_webhook
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.payos_webhook import Registration

__all__ = ["Registration", "register_webhook"]


def register_webhook(url: str, confirm: Callable[[str], HttpResponse]) -> Registration:
    """Enter ``url`` and return what PayOS decided. PayOS calls the address at once. Entering it twice changes nothing.

    ``confirm`` sends the request and returns the answer.

    Raises:
        UnavailableError: no answer, or none that is understood. PayOS may have entered the address.
    """
    try:
        return payos_webhook.read(confirm(url), url)
    except UnavailableError as error:
        hint = f"{error.hint}; if PayOS got the request, entering the address again changes nothing"
        raise UnavailableError(error.message, hint=hint) from error
