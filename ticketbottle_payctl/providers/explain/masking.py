"""Mask personal data in signed text. Show a value only if its field is known to be harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable

MASK = "***"
_SEPARATOR = re.compile(r"[\s,:]*")
_DECODER = json.JSONDecoder()


def masked_pairs(pairs: Iterable[tuple[str, str]], shown: Collection[str]) -> str:
    """Return masked ``name=value`` pairs, joined with ``&``. Show empty values, because they are often the mistake."""
    return "&".join(f"{name}={value if name in shown or not value else MASK}" for name, value in pairs)


def masked_json(text: str, shown: Collection[str]) -> str:
    """Return the text of a JSON object, with its white space. Mask each value unless its name is in ``shown``."""
    try:
        return _masked_members(text, shown)
    except (ValueError, RecursionError):
        return f"({len(text)} characters that are not a JSON object)"


def _masked_members(text: str, shown: Collection[str]) -> str:
    parts: list[str] = []
    done = position = text.index("{") + 1
    while True:
        position = _skip(text, position)
        if text.startswith("}", position):
            return "{" + "".join(parts) + text[done:]
        name, end = _DECODER.raw_decode(text, position)
        if not isinstance(name, str):
            message = "a name is not a string"
            raise ValueError(message)  # noqa: TRY004 - the text is wrong, not the caller
        start = _skip(text, end)
        value, position = _DECODER.raw_decode(text, start)
        secret = name not in shown or isinstance(value, dict | list)
        parts += [text[done:start], f'"{MASK}"' if secret and value else text[start:position]]
        done = position


def _skip(text: str, position: int) -> int:
    found = _SEPARATOR.match(text, position)
    return found.end() if found else position
