"""The description of a payment gateway. Each gateway's file has one value of this type.

To add a fifth gateway, write one file that ends in a :class:`Gateway`, one line in the registry, and its vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ticketbottle_payctl.domain.callback import Answer, Callback, Rejected, Reply, Request, Unclear
from ticketbottle_payctl.secret import Secret

Credentials = Mapping[str, tuple[Secret, ...]]
"""A merchant's values by field name: the current value first, then the previous one during a rotation."""


@dataclass(frozen=True, slots=True)
class CredentialField:
    """A value that a merchant gets from the gateway.

    ``signs_callbacks`` marks the values that verification needs. A value that is not ``secret`` names the merchant.
    """

    name: str
    env: str
    signs_callbacks: bool = True
    secret: bool = True


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's protocol as functions on values.

    ``verify`` never raises, whatever bytes it gets. ``recognises`` looks at the shape only and proves nothing.
    ``reply`` has words for every member of :class:`Answer`.
    """

    name: str
    spellings: tuple[str, ...]
    fields: tuple[CredentialField, ...]
    recognises: Callable[[Request], bool]
    verify: Callable[[Request, Credentials], Callback | Unclear | Rejected]
    reply: Callable[[Answer], Reply]
