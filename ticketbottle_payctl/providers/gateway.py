"""What payctl needs to know of a payment gateway; one value of this type per gateway, in its own file.

A fifth gateway is one file that ends in a :class:`Gateway`, one line in the registry, and its vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ticketbottle_payctl.domain.callback import Answer, Callback, Rejected, Reply, Request, Unclear
from ticketbottle_payctl.secret import Secret

Credentials = Mapping[str, tuple[Secret, ...]]
"""A merchant's values by field name; the current one first, then the previous one while a rotation lasts."""


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One value a merchant gets from the gateway. ``signs_callbacks`` marks the ones a callback cannot do without."""

    name: str
    env: str
    signs_callbacks: bool = True


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's protocol, as functions on values.

    ``verify`` never raises, whatever the bytes are. ``recognises`` looks at the shape only and proves nothing.
    ``reply`` has wording for every member of :class:`Answer`.
    """

    name: str
    spellings: tuple[str, ...]
    fields: tuple[CredentialField, ...]
    recognises: Callable[[Request], bool]
    verify: Callable[[Request, Credentials], Callback | Unclear | Rejected]
    reply: Callable[[Answer], Reply]
