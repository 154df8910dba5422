"""Judge whether a gateway would accept a reply to a callback, based on the HTTP status and a code in the body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

_SUCCESS = 2
_STATUSES = {
    3: "the service redirects, but a gateway does not follow redirects",
    4: "the service did not accept the request",
    5: "the service failed; its own log says why",
}
_STATUS = {
    400: "the service did not accept the callback; first check the service's key",
    401: "the service asks for a login, but gateways do not log in",
    403: "the service denied access; it must accept callbacks without a login",
    404: "the service has nothing at this path; check the path of the URL",
    405: "the service does not accept this HTTP method at this path; check the path of the URL",
}
"""The meaning of each HTTP status with which a service may reply to a callback."""


@dataclass(frozen=True, slots=True)
class ReplyCode:
    """A field in a reply's JSON body that a gateway reads.

    ``accepted`` are the values that acknowledge a callback. ``meanings`` describes other values. ``otherwise``
    describes all values that are not listed.
    """

    field: str
    accepted: frozenset[int | str]
    meanings: Mapping[int | str, str]
    otherwise: str


class Judgement(NamedTuple):
    """The verdict on whether a gateway would accept a reply.

    ``code`` is the code in the reply's body, as a string. ``why`` says why the gateway would not accept the reply.
    """

    acknowledged: bool
    code: str | None
    why: str | None


def judge_reply(expected: ReplyCode | None, status: int, body: str) -> Judgement:
    """Judge whether a gateway would accept a reply. ``expected`` is None if the gateway reads only the HTTP status."""
    code = _code(expected, body)
    shown = None if code is None else str(code)
    if status // 100 != _SUCCESS:
        meaning = _STATUS.get(status) or _STATUSES.get(status // 100, "not a success status")
        return Judgement(acknowledged=False, code=shown, why=f"HTTP {status}{_phrase(status)}: {meaning}")
    if expected is None or code in expected.accepted:
        return Judgement(acknowledged=True, code=shown, why=None)
    if code is None:
        why = f"the reply is not a JSON object with a {expected.field}, which the gateway reads"
    else:
        why = f"{expected.field} {code}: {expected.meanings.get(code, expected.otherwise)}"
    return Judgement(acknowledged=False, code=shown, why=why)


def _code(expected: ReplyCode | None, body: str) -> int | str | None:
    if expected is None:
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = content.get(expected.field) if isinstance(content, dict) else None
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def _phrase(status: int) -> str:
    from http import HTTPStatus  # noqa: PLC0415 - only for a reply that was not accepted

    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
