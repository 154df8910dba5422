"""Explain why a signature is not valid, by finding a change that would make it valid.

The explanation is for a person who has the keys. The explanation describes the changes that make the signature match,
and shows the signed text with personal data masked. The explanation never contains a key or a MAC, so it can be pasted
into a ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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

NO_VARIANT = Hint(
    "no_variant",
    "no known variant matches: the content was changed, or the key is wrong",
)
NOT_READABLE = Hint(
    "malformed", "the content cannot be read, so the signed text is unknown: is the content complete and unchanged?"
)
_SIGNED_BUT_UNCLEAR = Hint("malformed", "the signature is valid, so the content is the problem and not the key")
_OTHER_MERCHANT = Hint("other_merchant", "the signature is valid: is this a callback for another profile?")
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
    """Explain why ``gateway.verify`` rejects the request. For a genuine callback, return only the signed text.

    ``others`` maps the labels that hints show to additional keys to try. Each hint has a different code. Never raise an
    exception, even for malformed input.
    """
    verdict = gateway.verify(request, credentials)
    reading = _read(gateway, request, credentials)
    masked = reading.masked if reading else None
    if isinstance(verdict, Callback):
        return Explanation(masked, ())
    return Explanation(masked, _one_each(_hints(gateway, request, credentials, verdict, reading, others)))


def _one_each(hints: Iterable[Hint]) -> tuple[Hint, ...]:
    """Return the first hint for each code. Later hints with the same code describe the same mistake."""
    found: dict[str, Hint] = {}
    for hint in hints:
        found.setdefault(hint.code, hint)
    return tuple(found.values())


def _read(gateway: Gateway, request: Request, credentials: Credentials) -> Reading | None:
    try:
        return _READERS[gateway.name](request, credentials)
    except (MalformedError, UnicodeError, RecursionError):
        return None


def _hints(  # noqa: PLR0913, PLR0917 - one argument per fact
    gateway: Gateway,
    request: Request,
    credentials: Credentials,
    verdict: Unclear | Rejected,
    reading: Reading | None,
    others: Mapping[str, tuple[Secret, ...]],
) -> list[Hint]:
    if isinstance(verdict, Unclear):
        return [_SIGNED_BUT_UNCLEAR]
    if verdict.reason is RejectReason.NOT_CONFIGURED:
        missing = [one.env for one in gateway.fields if one.signs_callbacks and not any(credentials.get(one.name, ()))]
        return [Hint("not_configured", f"payctl cannot verify anything without {', '.join(missing)}")]
    if verdict.reason is RejectReason.OTHER_MERCHANT:
        return [_OTHER_MERCHANT]
    # If a change in transit explains the failure, payctl does not search for other texts and keys.
    return (
        list(_on_the_way(gateway, request, credentials))
        or (list(search(reading, gateway, credentials, others)) if reading else [])
        or [NOT_READABLE if verdict.reason is RejectReason.MALFORMED else NO_VARIANT]
    )


def _on_the_way(gateway: Gateway, request: Request, credentials: Credentials) -> Iterator[Hint]:
    for hint, before in requests_before(request):
        if _is_genuine(gateway, before, credentials):
            yield hint


def _is_genuine(gateway: Gateway, request: Request, credentials: Credentials) -> bool:
    verdict = gateway.verify(request, credentials)
    return not isinstance(verdict, Rejected) or verdict.reason is RejectReason.OTHER_MERCHANT
