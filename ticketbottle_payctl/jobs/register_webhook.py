"""Register the webhook's URL with PayOS. The only other way is through the PayOS portal."""

from __future__ import annotations

from collections.abc import Callable

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers.queries import payos_webhook
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.payos_webhook import Registration

__all__ = ["Registration", "register_webhook"]


def register_webhook(url: str, confirm: Callable[[str], HttpResponse]) -> Registration:
    """Register ``url`` and return PayOS's decision. Registering the same URL again is safe.

    ``confirm`` sends the request to PayOS and returns the response. PayOS calls the URL before it responds to the
    request.

    Raises:
        UnavailableError: PayOS did not answer, or payctl cannot read its response. PayOS may have registered the URL.
    """
    try:
        return payos_webhook.read(confirm(url), url)
    except UnavailableError as error:
        hint = f"{error.hint}; if PayOS got the request, registering the URL again changes nothing"
        raise UnavailableError(error.message, hint=hint) from error
