"""Define the type that describes a payment gateway. Each gateway's module creates one :class:`Gateway`.

CONTRIBUTING.md lists every place that must change for a new gateway. ``tests/add_a_gateway`` checks these places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ticketbottle_payctl.domain.callback import Answer, Callback, Rejected, Reply, Request, Unclear
from ticketbottle_payctl.providers.reply_code import ReplyCode
from ticketbottle_payctl.secret import Secret

Credentials = Mapping[str, tuple[Secret, ...]]
"""Each credential's values, by field name: the current value and, during a rotation, the previous value."""


@dataclass(frozen=True, slots=True)
class CredentialField:
    """A credential that the gateway gives to a merchant.

    ``signs_callbacks`` is True if verification needs the credential. If ``secret`` is False, the credential only
    identifies the merchant.
    """

    name: str
    env: str
    signs_callbacks: bool = True
    secret: bool = True


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's protocol, as functions without side effects.

    ``verify`` never raises an exception, even for malformed input. ``recognises`` checks only that the request has the
    names of the gateway's fields, including the signature's field. This check does not prove that the request is
    genuine. ``reply`` accepts every member of :class:`Answer`.
    """

    name: str
    spellings: tuple[str, ...]
    fields: tuple[CredentialField, ...]
    recognises: Callable[[Request], bool]
    verify: Callable[[Request, Credentials], Callback | Unclear | Rejected]
    reply: Callable[[Answer], Reply]
    reply_code: ReplyCode | None
    """The code that the gateway reads from a reply's body, or None if the gateway reads only the HTTP status."""
    method: Literal["GET", "POST"] = "POST"
    """The HTTP method of a callback. A GET has its fields in the query string, and a POST has them in its body."""
    content_type: str = "application/json"
    """The content type of a callback's body, which payctl also uses for simulated callbacks."""
