"""Check whether a callback is genuine. If the callback is not genuine, explain why.

This check needs only keys, and neither a database nor a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal

from ticketbottle_payctl.domain.callback import Callback, Outcome, Rejected, RejectReason, Request, Unclear
from ticketbottle_payctl.domain.decision_fields import ProviderName
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.facts import Keywords
from ticketbottle_payctl.providers import GATEWAYS, resolve
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.providers.tried_keys import TriedKey, tried_keys
from ticketbottle_payctl.secret import Secret

if TYPE_CHECKING:  # the explanation is loaded only if it is requested
    from ticketbottle_payctl.providers.explain import Explanation

REJECTED: Final = "REJECTED"
_NO_OTHERS: Mapping[str, tuple[Secret, ...]] = MappingProxyType({})
_UNRECOGNISED = "the request does not match any known gateway's format, and its path does not name a gateway"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a verification, with the content of a genuine callback.

    The result never contains a key or a MAC.
    """

    provider: ProviderName | None
    """The gateway's name; null if payctl does not recognise the gateway."""
    valid: bool
    outcome: Outcome | Literal["REJECTED"]
    order_ref: str | None = None
    """The gateway's name for the order."""
    provider_transaction_id: str | None = None
    """The gateway's transaction id."""
    amount: Annotated[int, Keywords(minimum=1)] | None = None
    """The amount in whole units of the currency."""
    currency: str | None = None
    """The currency's ISO 4217 code."""
    reason: str | None = None
    """A stable code that says why the callback was rejected or why it does not change the payment."""
    detail: str | None = None
    """The reason for a rejection, as a sentence."""
    hints: tuple[str, ...] = ()
    """The likely mistakes, if the callback is not genuine."""
    keys: tuple[TriedKey, ...] = ()
    """The keys that payctl used to check the signature."""
    canonical: str | None = None
    """The signed text with personal data masked; null if no explanation was requested."""


def verify_signature(
    request: Request,
    gateway: Gateway | None,
    credentials_for: Callable[[Gateway], Credentials],
    *,
    explain: bool = False,
    other_keys: Mapping[str, tuple[Secret, ...]] = _NO_OTHERS,
) -> VerifyReport:
    """Verify a callback with the code that the webhook uses. An invalid request never raises an exception.

    If ``gateway`` is None, the request's path or format determines the gateway. With ``explain``, a rejection includes
    hints. To find hints, payctl also tries the merchant's other values, other gateways' keys, and ``other_keys``, which
    maps the labels that hints show to keys.

    Raises:
        ConfigError: ``credentials_for`` found an invalid setting.
    """
    gateway = gateway or resolve(request)
    if gateway is None:
        return VerifyReport(
            provider=None,
            valid=False,
            outcome=REJECTED,
            reason=RejectReason.MALFORMED.value,
            detail=_UNRECOGNISED,
        )
    credentials = credentials_for(gateway)
    verdict = gateway.verify(request, credentials)
    keys = tried_keys(gateway, request, credentials)
    if not explain:
        return _report(gateway, verdict, keys, None)
    others = {**_keys_of_others(gateway, credentials_for), **other_keys}
    return _report(gateway, verdict, keys, _explained(gateway, request, credentials, others))


def _explained(
    gateway: Gateway, request: Request, credentials: Credentials, others: Mapping[str, tuple[Secret, ...]]
) -> Explanation:
    # This import is late, because a check without an explanation must start fast.
    from ticketbottle_payctl.providers.explain import explain  # noqa: PLC0415

    return explain(gateway, request, credentials, others=others)


def _keys_of_others(
    gateway: Gateway, credentials_for: Callable[[Gateway], Credentials]
) -> dict[str, tuple[Secret, ...]]:
    keys: dict[str, tuple[Secret, ...]] = {}
    for other in GATEWAYS.values():
        # An incorrect setting for a different gateway must not hide this callback's problem.
        with suppress(PayctlError):
            if other is not gateway:
                values = credentials_for(other)
                keys |= {field.env: values.get(field.name, ()) for field in other.fields if field.secret}
    return keys


def _report(
    gateway: Gateway,
    verdict: Callback | Unclear | Rejected,
    keys: tuple[TriedKey, ...],
    explanation: Explanation | None,
) -> VerifyReport:
    hints = tuple(hint.text for hint in explanation.hints) if explanation else ()
    canonical = explanation.canonical_masked if explanation else None
    if not isinstance(verdict, Callback):
        return VerifyReport(
            provider=gateway.name,
            valid=False,
            outcome=REJECTED,
            reason=verdict.reason.value,
            detail=verdict.detail,
            hints=hints,
            keys=keys,
            canonical=canonical,
        )
    return VerifyReport(
        provider=gateway.name,
        valid=True,
        outcome=verdict.outcome,
        order_ref=verdict.order_ref,
        provider_transaction_id=verdict.gateway_transaction_id,
        amount=verdict.amount,
        currency=verdict.currency,
        reason=verdict.ignored_because.value if verdict.ignored_because else None,
        hints=hints,
        keys=keys,
        canonical=canonical,
    )
