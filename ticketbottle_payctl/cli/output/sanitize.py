"""Make text from a gateway, a row or a file name safe to show on a terminal.

Control characters, bidirectional overrides, invisible format characters and lone surrogates become Python escapes. All
other text, including markup, stays unchanged.
"""

from __future__ import annotations

import re
from unicodedata import category

_SUSPECT = re.compile(r"[^ -~\u00a1-\u00ac\u00ae-\u02ff\u1e00-\u1eff]")  # except Latin letters, which are safe
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_SHOWN_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def escape(value: object) -> str:
    """Return ``value`` as text that cannot move the terminal's cursor or change the terminal's colours."""
    return _SUSPECT.sub(_escaped, str(value))


def escape_json(text: str) -> str:
    """Return JSON text with unsafe characters as JSON escapes.

    In JSON text, unsafe characters occur only inside strings.
    """
    return _SUSPECT.sub(_json_escaped, text)


def ascii_json(text: str) -> str:
    """Return a JSON document in ASCII, for a stream that can encode only ASCII."""
    return _BEYOND_ASCII.sub(lambda found: _units(found[0]), text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if category(character) not in _SHOWN_ESCAPED:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _json_escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character == "\n" or category(character) not in _SHOWN_ESCAPED:
        return character
    return _units(character)


def _units(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
