"""Why a signature fails, in words: find the change after which it would match.

Meant for the person who holds the keys. It says which neighbour matches and shows the signed text with personal data
masked; it prints no key and no MAC, so its output may be pasted into a ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from ticketbottle_payctl.domain.callback import Callback, Rejected, RejectReason, Request, Unclear
from ticketbottle_payctl.providers.explain import momo, payos, vnpay, zalopay
from ticketbottle_payctl.providers.explain.model import Explanation, Hint, Reading
from ticketbottle_payctl.providers.explain.search import search
from ticketbottle_payctl.providers.explain.transport import requests_before
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.secret import Secret

__all__ = ["Explanation", "Hint", "explain"]

NO_NEIGHBOUR = Hint(
    "no_neighbour",
    "no neighbour matches: the content was changed after signing, or the key is another",
)
_READERS: dict[str, Callable[[Request, Credentials], Reading]] = {
    "zalopay": zalopay.read,
    "payos": payos.read,
    "vnpay": vnpay.read,
    "momo": momo.read,
}
_NO_OTHERS: Mapping[str, tuple[Secret, ...]] = MappingProxyType({})


def explain(
    gateway: Gateway,
    request: Request,
    credentials: Credentials,
    *,
    others: Mapping[str, tuple[Secret, ...]] = _NO_OTHERS,
) -> Explanation:
    """Say why ``gateway.verify`` refuses the request, or nothing but the signed text if it does not.

    ``others`` are further keys to try, by the label that the hint will show. Never raises.
    """
    verdict = gateway.verify(request, credentials)
    reading = _read(gateway, request, credentials)
    masked = reading.masked if reading else None
    if isinstance(verdict, Callback):
        return Explanation(masked, ())
    hints = dict.fromkeys(_hints(gateway, request, credentials, verdict, reading, others))
    return Explanation(masked, tuple(hints) or (NO_NEIGHBOUR,))


def _read(gateway: Gateway, request: Request, credentials: Credentials) -> Reading | None:
    try:
        return _READERS[gateway.name](request, credentials)
    except (MalformedError, UnicodeError, RecursionError):
        return None


def _hints(  # noqa: PLR0913, PLR0917 - everything that is known
    gateway: Gateway,
    request: Request,
    credentials: Credentials,
    verdict: Unclear | Rejected,
    reading: Reading | None,
    others: Mapping[str, tuple[Secret, ...]],
) -> Iterator[Hint]:
    if isinstance(verdict, Unclear):
        yield Hint("malformed", f"the signature holds, but {verdict.detail}")
        return
    if verdict.reason is RejectReason.NOT_CONFIGURED:
        missing = [one.env for one in gateway.fields if one.signs_callbacks and not any(credentials.get(one.name, ()))]
        yield Hint("not_configured", f"nothing can be verified without {', '.join(missing)}")
        return
    if verdict.reason is RejectReason.OTHER_MERCHANT:
        yield Hint("other_merchant", f"the signature holds, but {verdict.detail}; is this another profile's callback?")
        return
    if verdict.reason is RejectReason.MALFORMED:
        yield Hint("malformed", f"the content is not well formed: {verdict.detail}")
    for hint, before in requests_before(request):
        if _is_genuine(gateway, before, credentials):
            yield hint
    if reading:
        yield from search(reading, credentials, others)


def _is_genuine(gateway: Gateway, request: Request, credentials: Credentials) -> bool:
    verdict = gateway.verify(request, credentials)
    return not isinstance(verdict, Rejected) or verdict.reason is RejectReason.OTHER_MERCHANT
