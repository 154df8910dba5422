"""Break lines that are wider than the terminal. Lines break between words, and continuation lines are indented."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

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


def folded(parts: Sequence[Part], between: int, width: int, hang: int | None = None) -> list[list[Part]]:
    """Break one line into lines of at most ``width`` columns. Each line is a list of adjacent parts.

    ``between`` is the number of spaces between two parts. A line never breaks inside a word, inside text in backquotes,
    or between a number and its unit. A line breaks between a JSON name and its value only if both together are too wide
    for a line. If ``hang`` is given, continuation lines start below the part with this index, unless too little room is
    left. A command is never broken, because a shell would run its first half when a user pastes it.
    """
    texts = [_text(part) for part in parts]
    whole = (" " * between).join(texts)
    if columns_of(whole) <= width or texts[-1].lstrip().startswith(_COMMAND):
        return [_joined(parts, between)]
    indent = " " * _indent(texts, between, width, hang)
    lines: list[list[Part]] = [[]]
    used = 0
    for part, word in _words(parts, between, width - len(indent)):
        if used + columns_of(word) > width and used > len(indent):
            lines.append([indent])
            used, word = len(indent), word.lstrip(" ")  # noqa: PLW2901 - the line above keeps the spaces before the word
        lines[-1].append(_like(part, word))
        used += columns_of(word)
    return lines


def _indent(texts: Sequence[str], between: int, width: int, hang: int | None) -> int:
    """Return the column where continuation lines begin.

    This is below the part with index ``hang``, or below the longest part if ``hang`` is None. If the longest word would
    not fit there, it is below an earlier part.
    """
    start_at = texts.index(max(texts, key=columns_of)) if hang is None else min(hang, len(texts) - 1)
    words = [columns_of(word) for text in texts[start_at:] for word in text.split(" ")]
    needed = max((word for word in words if word <= width - _spaces("".join(texts))), default=0)
    for number in range(start_at, -1, -1):
        start = sum(columns_of(text) + between for text in texts[:number]) + _spaces(texts[number])
        if texts[number].strip() and width - start >= max(_NARROWEST, needed):
            return start
    return _spaces("".join(texts))


def _spaces(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _words(parts: Sequence[Part], between: int, room: int) -> Iterator[tuple[Part, str]]:
    gap = ""
    for part in parts:
        text = _text(part)
        words = [piece for word in _WORD.findall(text) for piece in _pieces(word, room)]
        if not words:
            gap += text + " " * between
            continue
        for word in words:
            yield part, gap + word
            gap = ""
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
