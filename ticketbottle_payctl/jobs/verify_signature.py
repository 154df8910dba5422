"""Say whether a callback is genuine, and if not, why. It needs the merchant's keys, no database and no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ticketbottle_payctl.domain.callback import Callback, Rejected, RejectReason, Request, Unclear
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.providers import GATEWAYS, resolve
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.secret import Secret

if TYPE_CHECKING:  # the explanation is loaded only if it is asked for
    from ticketbottle_payctl.providers.explain import Explanation

REJECTED = "REJECTED"
_NO_OTHERS: Mapping[str, tuple[Secret, ...]] = MappingProxyType({})
_UNRECOGNISED = "no gateway's callback looks like this, and the path names none"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a proven callback says. If it is not proven, its values are None.

    ``outcome`` is COMPLETED, FAILED, CANCELLED, IGNORED or REJECTED. ``provider_transaction_id`` is the gateway's own
    number. ``amount`` is whole ``currency``, or None if the callback is about no amount. ``reason`` is a stable word:
    why the callback was rejected, or why it changes no payment. ``detail`` explains a rejection in a sentence.
    ``canonical`` is the signed text with personal data masked, if an explanation was asked for. No field contains a
    key or a MAC.
    """

    provider: str | None
    valid: bool
    outcome: str
    order_ref: str | None = None
    provider_transaction_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    reason: str | None = None
    detail: str | None = None
    hints: tuple[str, ...] = ()
    canonical: str | None = None


def verify_signature(
    request: Request,
    gateway: Gateway | None,
    credentials_for: Callable[[Gateway], Credentials],
    *,
    explain: bool = False,
    other_keys: Mapping[str, tuple[Secret, ...]] = _NO_OTHERS,
) -> VerifyReport:
    """Verify a callback as the webhook would. Never raises because of the request.

    Without ``gateway``, the path or the shape chooses it. With ``explain``, a refusal has hints. They try the
    gateway's own values, those of the other gateways, and ``other_keys``, which are named by their labels.

    Raises:
        ConfigError: from ``credentials_for``, if a setting is wrong.
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
    if not explain:
        return _report(gateway, verdict, None)
    others = {**_keys_of_others(gateway, credentials_for), **other_keys}
    return _report(gateway, verdict, _explained(gateway, request, credentials, others))


def _explained(
    gateway: Gateway, request: Request, credentials: Credentials, others: Mapping[str, tuple[Secret, ...]]
) -> Explanation:
    # Loaded late, because a plain check must start fast.
    from ticketbottle_payctl.providers.explain import explain  # noqa: PLC0415

    return explain(gateway, request, credentials, others=others)


def _keys_of_others(
    gateway: Gateway, credentials_for: Callable[[Gateway], Credentials]
) -> dict[str, tuple[Secret, ...]]:
    keys: dict[str, tuple[Secret, ...]] = {}
    for other in GATEWAYS.values():
        # A wrong setting of another gateway must not hide what is wrong with this callback.
        with suppress(PayctlError):
            if other is not gateway:
                keys |= {f"{other.name}'s {field}": values for field, values in credentials_for(other).items()}
    return keys


def _report(gateway: Gateway, verdict: Callback | Unclear | Rejected, explanation: Explanation | None) -> VerifyReport:
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
            canonical=canonical,
        )
    return VerifyReport(
        provider=gateway.name,
        valid=True,
        outcome=verdict.outcome.value,
        order_ref=verdict.order_ref,
        provider_transaction_id=verdict.gateway_transaction_id,
        amount=verdict.amount,
        currency=verdict.currency,
        reason=verdict.ignored_because.value if verdict.ignored_because else None,
        hints=hints,
        canonical=canonical,
    )
