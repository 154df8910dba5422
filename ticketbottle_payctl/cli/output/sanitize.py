"""Text that came from a gateway, a row or a file name, made safe to show on a terminal.

Control characters, bidirectional overrides, invisible format characters and lone surrogates are shown escaped, the
way Python writes them. Nothing else changes, and no markup is interpreted anywhere.
"""

from __future__ import annotations

import re
from unicodedata import category

_SUSPECT = re.compile(r"[^ -~\u00a1-\u00ac\u00ae-\u02ff\u1e00-\u1fff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_SHOWN_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def escape(value: object) -> str:
    """``value`` as text that moves no cursor and changes no colour."""
    return _SUSPECT.sub(_escaped, str(value))


def escape_json(text: str) -> str:
    """JSON text with the same characters in JSON's own escapes: such characters stand only inside its strings."""
    return _SUSPECT.sub(_json_escaped, text)


def ascii_json(text: str) -> str:
    """The same document in ASCII alone, for a stream that cannot show more."""
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
