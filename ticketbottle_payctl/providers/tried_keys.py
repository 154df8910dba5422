"""Describe the keys that payctl used to check a signature, so that people can compare keys without showing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ticketbottle_payctl.domain.callback import Rejected, RejectReason, Request
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings.fingerprint import fingerprint

PREVIOUS = "_PREVIOUS"
"""The suffix of the variable that holds the previous key during a rotation."""


@dataclass(frozen=True, slots=True)
class TriedKey:
    """A key that payctl used to check a signature. The fields never contain any part of the key."""

    variable: str
    """The key's environment variable, or another source of the key."""
    generation: Literal["current", "previous"]
    """Whether this is the current or the previous key. During a rotation, payctl accepts both keys."""
    length: Count
    """The key's length in characters."""
    fingerprint: str
    """The first eight hex digits of the key's SHA-256."""
    matched: bool
    """Whether the signature is valid with this key.

    A MoMo signature depends on the access key and the secret key together.
    """

    @property
    def description(self) -> str:
        """A description of the key, such as ``MOMO_SECRET_KEY (current), 32 characters, fingerprint 1a2b3c4d``."""
        name = f"{self.variable} ({self.generation})" if self.variable.isidentifier() else self.variable
        return f"{name}, {count(self.length, 'character')}, fingerprint {self.fingerprint}"


def tried_keys(gateway: Gateway, request: Request, credentials: Credentials) -> tuple[TriedKey, ...]:
    """Return descriptions of the gateway's keys for callbacks. The current value of each key comes first.

    If the callback's content cannot be parsed, the signature cannot be checked, and the result is empty.
    """
    verdict = gateway.verify(request, credentials)
    if isinstance(verdict, Rejected) and verdict.reason is RejectReason.MALFORMED:
        return ()
    return tuple(
        _tried(gateway, request, credentials, field.name, value, _variable(field.env, value, place))
        for field in gateway.fields
        if field.secret and field.signs_callbacks
        for place, value in enumerate(credentials.get(field.name, ()))
        if value
    )


def _variable(env: str, value: Secret, place: int) -> str:
    return value.origin or f"{env}{PREVIOUS if place else ''}"


def _tried(  # noqa: PLR0913, PLR0917 - one argument per fact
    gateway: Gateway, request: Request, credentials: Credentials, field: str, value: Secret, variable: str
) -> TriedKey:
    verdict = gateway.verify(request, {**credentials, field: (value,)})
    return TriedKey(
        variable=variable,
        generation="previous" if variable.endswith(PREVIOUS) else "current",
        length=len(value.reveal()),
        fingerprint=fingerprint(value),
        matched=not isinstance(verdict, Rejected) or verdict.reason is RejectReason.OTHER_MERCHANT,
    )
