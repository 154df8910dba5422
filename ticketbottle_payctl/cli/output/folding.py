"""Break lines that are wider than the terminal. Lines break between words, and continuation lines are indented."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ticketbottle_payctl.cli.output.result import Part, Styled
from ticketbottle_payctl.cli.output.width import columns_of

FIGURE = (
    r"\(?\d[\d,.]* (?:[A-Z]{3}|ms|s|min|h|d|batch(?:es)?|events?|tr(?:y|ies))\b(?: \d+ (?:ms|s|min|h)\b)?(?: ago\b)?"
)
"""A pattern for a number and its unit, which stay together."""
_PAIR = r"[^ \"]*\"[^\" ]+\": [^ ]+"
# A match begins only where a run of spaces begins. Otherwise the time would grow with the square of the run's length.
_WORD = re.compile(rf"(?<! ) *+(?:`[^`]*`[^ ]*|{FIGURE}[^ ]*|{_PAIR}|[^ ]+)")
_COMMAND = "payctl "
_NARROWEST = 30


def folded(
    parts: Sequence[Part], between: int, width: int, hang: int | None = None, *, by_clause: bool = False
) -> list[list[Part]]:
    """Break one line into lines of at most ``width`` columns. Each line is a list of adjacent parts.

    ``between`` is the number of spaces between two parts. A line never breaks inside a word, inside text in backquotes,
    or between a number and its unit. A line breaks between a JSON name and its value only if both together are too wide
    for a line. If ``hang`` is given, continuation lines start below the part with this index, unless too little room is
    left. A command is never broken, because a shell would run its first half when a user pastes it.

    Continuation lines start below one of the parts. If a part after this one does not fit on the current line, but fits
    on a new line, it starts a new line. With ``by_clause``, the same is true for each clause of a longer part. A clause
    ends with a comma, a semicolon or a full stop.
    """
    texts = [_text(part) for part in parts]
    whole = (" " * between).join(texts)
    if columns_of(whole) <= width or texts[-1].lstrip().startswith(_COMMAND):
        return [_joined(parts, between)]
    start_at, column = _indent(texts, between, width, hang)
    indent, room = " " * column, width - column
    lines: list[list[Part]] = [[]]
    used = 0
    for unit in _units(parts, between, room, start_at, by_clause=by_clause):
        wide = columns_of("".join(unit.words))
        moves = unit.moves and used + wide > width and wide - _spaces(unit.words[0]) <= room
        for word in unit.words:
            if used > column and (moves or used + columns_of(word) > width):
                lines.append([indent])
                used, word = column, word.lstrip(" ")  # noqa: PLW2901 - the line above keeps the spaces before the word
            moves = False
            lines[-1].append(_like(unit.part, word))
            used += columns_of(word)
    return lines


class _Unit(NamedTuple):
    """Words of one part that stay on one line, if they fit. ``moves`` says whether they can start a new line."""

    part: Part
    words: list[str]
    moves: bool


def _units(parts: Sequence[Part], between: int, room: int, start_at: int, *, by_clause: bool) -> Iterator[_Unit]:
    for number, (part, words) in enumerate(_words(parts, between, room)):
        clauses = _clauses(words) if by_clause and columns_of("".join(words)) > room else [words]
        for place, clause in enumerate(clauses):
            if clause:
                yield _Unit(part, clause, number > start_at or place > 0)


def _clauses(words: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in words:
        found[-1].append(word)
        if word.endswith((",", ";", ".")):
            found.append([])
    return found


def _indent(texts: Sequence[str], between: int, width: int, hang: int | None) -> tuple[int, int]:
    """Return the index of the part at which continuation lines begin, and its column.

    This is the part with index ``hang``, or the longest part if ``hang`` is None. If too little room is left below
    this part, continuation lines begin at an earlier part.
    """
    start_at = texts.index(max(texts, key=columns_of)) if hang is None else min(hang, len(texts) - 1)
    words = [columns_of(word) for text in texts[start_at:] for word in text.split(" ")]
    needed = max((word for word in words if word <= width - _spaces("".join(texts))), default=0)
    for number in range(start_at, -1, -1):
        start = sum(columns_of(text) + between for text in texts[:number]) + _spaces(texts[number])
        if texts[number].strip() and width - start >= max(_NARROWEST, needed):
            return number, start
    return 0, _spaces("".join(texts))


def _spaces(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _words(parts: Sequence[Part], between: int, room: int) -> Iterator[tuple[Part, list[str]]]:
    """Yield each part with its words. A word contains the spaces before it. A part may have no words."""
    gap = ""
    for part in parts:
        text = _text(part)
        words = [piece for word in _WORD.findall(text) for piece in _pieces(word, room)]
        if not words:
            gap += text + " " * between
            yield part, []
            continue
        yield part, [gap + words[0], *words[1:]]
        gap = " " * (len(text) - len(text.rstrip(" ")) + between)


def _pieces(word: str, room: int) -> list[str]:
    """Return the word as one piece.

    Return two pieces if the word is a JSON name with its value, and both together are too wide for a line.
    """
    return re.findall(r" *[^ ]+", word) if columns_of(word) > room and re.fullmatch(f" *{_PAIR}", word) else [word]


def _joined(parts: Sequence[Part], between: int) -> list[Part]:
    shown: list[Part] = []
    for part in parts:
        shown += [" " * between, part] if shown else [part]
    return shown


def _like(part: Part, text: str) -> Part:
    """Return ``text`` in the style of ``part``."""
    return Styled(text, part.style) if isinstance(part, Styled) else text


def _text(part: Part) -> str:
    return part.text if isinstance(part, Styled) else part
