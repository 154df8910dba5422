"""Define the type that describes a payment gateway. Each gateway's file creates one :class:`Gateway`.

CONTRIBUTING.md lists every place that a new gateway needs. ``tests/test_add_a_gateway.py`` checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ticketbottle_payctl.domain.callback import Answer, Callback, Rejected, Reply, Request, Unclear
from ticketbottle_payctl.providers.reply_code import ReplyCode
from ticketbottle_payctl.secret import Secret

Credentials = Mapping[str, tuple[Secret, ...]]
"""A merchant's credentials by field name: the current value first, then the previous one during a rotation."""


@dataclass(frozen=True, slots=True)
class CredentialField:
    """A value that the gateway gives to a merchant.

    ``signs_callbacks`` marks the values that verification needs. A value that is not ``secret`` identifies the
    merchant.
    """

    name: str
    env: str
    signs_callbacks: bool = True
    secret: bool = True


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's protocol, as functions without side effects.

    ``verify`` never raises, whatever bytes it gets. ``recognises`` checks only the format and proves nothing. ``reply``
    has a reply for every member of :class:`Answer`.
    """

    name: str
    spellings: tuple[str, ...]
    fields: tuple[CredentialField, ...]
    recognises: Callable[[Request], bool]
    verify: Callable[[Request, Credentials], Callback | Unclear | Rejected]
    reply: Callable[[Answer], Reply]
    reply_code: ReplyCode | None
    """The code that the gateway reads in the body of a reply, or None if it reads only the HTTP status."""
    content_type: str = "application/json"
    """The type of the body of a callback. payctl sends it with each callback that it makes."""
