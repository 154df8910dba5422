"""Describe the gateways' keys by fingerprint and length, and find missing keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypedDict

from ticketbottle_payctl.domain.decision_fields import ProviderName
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.providers.gateway import CredentialField, Gateway
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings.fingerprint import fingerprint

State = Literal["on", "off", "incomplete"]
_SUFFIXES: dict[Literal["current", "previous"], str] = {"current": "", "previous": "_PREVIOUS"}


class KeyItem(TypedDict):
    """A key or another setting of a gateway, even if it has no value."""

    gateway: ProviderName
    """The gateway that the value belongs to."""
    state: State
    """Whether payctl can check the gateway's callbacks with these settings: on, off (no key is set) or incomplete."""
    variable: str
    """The variable that holds the value, without _PREVIOUS."""
    rotation: Literal["current", "previous"]
    """Whether this is the current or the previous value in a key rotation."""
    needed_for: Literal["callbacks", "queries"]
    """What the value is needed for: checking callbacks, or only querying the gateway."""
    for_queries: bool
    """Whether ``payctl reconcile payments`` needs the value to query the gateway."""
    is_set: bool
    length: Count | None
    """The length of the value in characters."""
    fingerprint: str | None
    """The first eight hex digits of the value's SHA-256."""


def keys_of(gateway: Gateway, environ: Mapping[str, str]) -> list[KeyItem]:
    """Return every current value of the gateway, and each previous value that is still set."""
    return [item for field in gateway.fields for item in _values(gateway, field, environ)]


def state_of(gateway: Gateway, environ: Mapping[str, str]) -> State:
    """Return ``on``, ``incomplete`` or ``off`` if all, some or none of the gateway's callback keys are set."""
    needed = [_is_set(field, environ) for field in gateway.fields if field.signs_callbacks]
    return "on" if all(needed) else "incomplete" if any(needed) else "off"


def only_for_functions(gateway: Gateway, environ: Mapping[str, str]) -> list[str]:
    """Return the variables that refer to a secret in Secrets Manager. Only the Lambda functions read these secrets."""
    names = (f"{field.env}_SECRET_ARN" for field in gateway.fields if not _is_set(field, environ))
    return [name for name in names if environ.get(name)]


def _is_set(field: CredentialField, environ: Mapping[str, str]) -> bool:
    return any(environ.get(field.env + suffix) for suffix in _SUFFIXES.values())


def _values(gateway: Gateway, field: CredentialField, environ: Mapping[str, str]) -> Iterator[KeyItem]:
    for rotation, suffix in _SUFFIXES.items():
        value = environ.get(field.env + suffix)
        if value or rotation == "current":
            yield {
                "gateway": gateway.name,
                "state": state_of(gateway, environ),
                "variable": field.env,
                "rotation": rotation,
                "needed_for": "callbacks" if field.signs_callbacks else "queries",
                "for_queries": field.name in QUERIES[gateway.name].needs,
                "is_set": bool(value),
                "length": len(value) if value else None,
                "fingerprint": fingerprint(Secret(value)) if value else None,
            }
