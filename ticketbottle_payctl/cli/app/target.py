"""Build the line with the profile, the database and the brokers that a command uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ticketbottle_payctl.cli.output.result import Part, Styled, bad, dim
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.formats import cut_middle
from ticketbottle_payctl.settings.brokers import brokers as brokers_in
from ticketbottle_payctl.settings.database_url import parse
from ticketbottle_payctl.settings.place import place_of

if TYPE_CHECKING:
    from ticketbottle_payctl.cli.profile.guard_in_force import GuardInForce
    from ticketbottle_payctl.cli.profile.profiles import Profile

_NOT_SET, _INVALID = "not set", "not valid"
_SHORTEST = 12


def target(
    profile: Profile,
    guard: Callable[[], GuardInForce],
    *,
    brokers: bool,
    width: int | None = None,
) -> list[Part]:
    """Return the parts of the line. A protected profile is red, and all other parts are dim.

    If ``width`` is None, no part is shortened. An address is shown even if other settings of the connection are
    invalid, because the command reports their error.
    """
    shown = [("database", _address(profile, "DATABASE_URL", lambda url: str(place_of(parse(url)))))]
    if brokers:
        shown.append(("brokers", _address(profile, "KAFKA_BROKERS", brokers_in)))
    name = _named(profile, guard)
    if width is not None:
        room = width - len("profile ") - len(name.text) - sum(len(f" · {word} ") for word, _ in shown)
        shown = _fitted(shown, room)
    parts: list[Part] = [dim("profile"), name]
    for word, text in shown:
        parts += [dim("·"), dim(f"{word} {text}")]
    return parts


def _named(profile: Profile, guard: Callable[[], GuardInForce]) -> Styled:
    name = profile.name or "none"
    try:
        owner = guard().protected
    except ConfigError:
        return dim(name)
    if owner is None:
        return dim(name)
    return bad(f"{name} (protected)" if owner == profile.name else f"{name} (protected: {owner})")


def _address(profile: Profile, variable: str, read: Callable[[str], str]) -> str:
    value = profile.environ.get(variable, "").strip()
    if not value:
        return _NOT_SET
    try:
        return read(value)
    except ConfigError:
        return _INVALID


def _fitted(shown: list[tuple[str, str]], room: int) -> list[tuple[str, str]]:
    """Shorten the values to fit into ``room`` columns.

    A long value can use the columns that a short value leaves free.
    """
    left = room
    fitted: dict[str, str] = {}
    for number, (word, text) in enumerate(sorted(shown, key=lambda each: len(each[1]))):
        share = max(_SHORTEST, left // (len(shown) - number))
        fitted[word] = cut_middle(text, share)
        left -= len(fitted[word])
    return [(word, fitted[word]) for word, _ in shown]
