"""A list on a terminal: short ids, states in their colours, ages, and only the columns that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from shutil import get_terminal_size

from ticketbottle_payctl.cli.output.result import Block, Line, Part, Styled, dim, line
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.cli.output.theme import Style
from ticketbottle_payctl.formats import age, clock_and_age, cut, short_id

Row = Mapping[str, object]
_BETWEEN = 2
_LONGEST = 32
_WANTED = 4
_STYLES = {
    **dict.fromkeys(("published", "COMPLETED", "settled", "done"), Style.GOOD),
    **dict.fromkeys(("dead", "FAILED", "refused"), Style.BAD),
    **dict.fromkeys(("pending", "PENDING", "running", "stopped", "interrupted", "incomplete"), Style.WARN),
    **dict.fromkeys(("CANCELLED", "already_settled", "ignored", "test_ping", "cancelled"), Style.DIM),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, and its text in a row. Columns with a high ``rank`` are left out first if room is short."""

    title: str
    text: Callable[[Row, tzinfo, datetime], str]
    rank: int
    styled: bool = False
    right: bool = False
    brief: Callable[[Row, tzinfo, datetime], str] | None = None
    """A shorter text, used if a column of a low rank would not fit otherwise."""
    rest: bool = False
    """The column takes the room that is left, and its text is cut there."""


def narrow(columns: Sequence[Column], rows: Sequence[Row], zone: tzinfo, now: datetime) -> list[Block]:
    """Return the rows as lines of whole words that are at most as wide as the terminal."""
    width = get_terminal_size().columns
    cells = {column: [_cell(column, row, zone, now) for row in rows] for column in columns}
    needs = _needs(cells)
    chosen = _fitting(columns, needs, width)
    if any(column.rank <= _WANTED and column not in chosen for column in columns):
        cells = {column: [_cell(column, row, zone, now, brief=True) for row in rows] for column in columns}
        needs = _needs(cells)
        chosen = _fitting(columns, needs, width)
    for column in chosen:
        if column.rest:
            needs[column] = width - _together([each for each in chosen if each is not column], needs) - _BETWEEN
    heads = [_padded(column, column.title, needs[column]) for column in chosen]
    blocks: list[Block] = [_line(chosen, [dim(head) for head in heads])]
    for number in range(len(rows)):
        texts = [(column, cells[column][number]) for column in chosen]
        blocks.append(_line(chosen, [_part(column, text, needs[column]) for column, text in texts]))
    return blocks


def _needs(cells: Mapping[Column, Sequence[str]]) -> dict[Column, int]:
    return {column: max(map(len, (column.title, *texts))) for column, texts in cells.items()}


def _fitting(columns: Sequence[Column], needs: Mapping[Column, int], width: int) -> list[Column]:
    """Return the columns that fit next to each other, those of the lowest ranks first, in the order of the list."""
    kept: list[Column] = []
    for column in sorted(columns, key=lambda each: each.rank):
        need = len(column.title) if column.rest else needs[column]
        if not kept or _together(kept, needs) + _BETWEEN + need <= width:
            kept.append(column)
    return [column for column in columns if column in kept]


def _together(columns: Sequence[Column], needs: Mapping[Column, int]) -> int:
    return sum(needs[each] for each in columns) + _BETWEEN * (len(columns) - 1)


def _cell(column: Column, row: Row, zone: tzinfo, now: datetime, *, brief: bool = False) -> str:
    show = column.brief if brief and column.brief else column.text
    text = escape(show(row, zone, now))
    return text if column.rest else cut(text, _LONGEST)


def _padded(column: Column, text: str, width: int) -> str:
    return text.rjust(width) if column.right else text.ljust(width)


def _part(column: Column, text: str, width: int) -> Part:
    padded = _padded(column, cut(text, width), width)
    return Styled(padded, _STYLES[text]) if column.styled and text in _STYLES else padded


def _line(columns: Sequence[Column], parts: Sequence[Part]) -> Line:
    """Return a line without spaces at its end, which would wrap in a terminal that is exactly as wide."""
    *before, last = parts
    if columns[-1].right:
        return line(*before, last)
    stripped = Styled(last.text.rstrip(), last.style) if isinstance(last, Styled) else last.rstrip()
    return Line((*before, stripped))


def plain(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a function that shows a field unchanged, as a column's text."""
    return lambda row, _zone, _now: "" if row.get(name) is None else str(row[name])


def short(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a function that shows the first eight characters of the id in a field, as a column's text."""
    return lambda row, _zone, _now: short_id(str(row.get(name) or ""))


def when(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a column's text: the clock or the day of this instant, and its age."""

    def text(row: Row, zone: tzinfo, now: datetime) -> str:
        at = row.get(name)
        return clock_and_age(at, zone, now) if isinstance(at, datetime) else ""

    return text


def ago(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a column's text: the age of this instant."""

    def text(row: Row, _zone: tzinfo, now: datetime) -> str:
        at = row.get(name)
        return age((now - at).total_seconds()) if isinstance(at, datetime) else ""

    return text
