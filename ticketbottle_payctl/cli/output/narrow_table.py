"""Show a list on a terminal, with short ids, coloured states, ages, and only the columns that fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from shutil import get_terminal_size

from ticketbottle_payctl.cli.output.result import Block, Line, Part, Styled, dim, line
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.theme import Style
from ticketbottle_payctl.cli.output.width import columns_of, cut_to, filled
from ticketbottle_payctl.formats import age, clock_and_age, short_id

Row = Mapping[str, object]
_BETWEEN = 2
_LONGEST = 32
_WANTED = 4
_STYLES = {
    **dict.fromkeys(("published", "COMPLETED", "settled", "done"), Style.GOOD),
    **dict.fromkeys(("dead", "blocked", "FAILED", "refused"), Style.BAD),
    **dict.fromkeys(("pending", "PENDING", "running", "stopped", "interrupted", "incomplete"), Style.WARN),
    **dict.fromkeys(("CANCELLED", "already_settled", "ignored", "test_ping", "cancelled", "closed"), Style.DIM),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list. On a narrow terminal, the columns with the highest ``rank`` are left out."""

    title: str
    text: Callable[[Row, tzinfo, datetime], str]
    rank: int
    styled: bool = False
    right: bool = False
    brief: Callable[[Row, tzinfo, datetime], str] | None = None
    """A function that returns a shorter text. The text is used if an important column would not fit otherwise."""
    rest: bool = False
    """Whether the column takes the remaining width. Its text is then cut off at the end of the line."""
    least: int = 0
    """The minimum width of a column that takes the remaining width, unless its title is wider."""


def narrow(columns: Sequence[Column], rows: Sequence[Row], zone: tzinfo, now: datetime) -> list[Block]:
    """Return the rows as lines that fit into the terminal's width."""
    width, mark = get_terminal_size().columns, Surface.of(sys.stdout, colour=False).marks("…")
    cells = {column: [_cell(column, row, zone, now, mark) for row in rows] for column in columns}
    needs = _needs(cells)
    chosen = _fitting(columns, needs, width)
    if any(column.rank <= _WANTED and column not in chosen for column in columns):
        cells = {column: [_cell(column, row, zone, now, mark, brief=True) for row in rows] for column in columns}
        needs = _needs(cells)
        chosen = _fitting(columns, needs, width)
    for column in chosen:
        if column.rest:
            needs[column] = width - _together([each for each in chosen if each is not column], needs) - _BETWEEN
    heads = [_padded(column, column.title, needs[column]) for column in chosen]
    blocks: list[Block] = [_line(chosen, [dim(head) for head in heads])]
    for number in range(len(rows)):
        texts = [(column, cells[column][number]) for column in chosen]
        blocks.append(_line(chosen, [_part(column, text, needs[column], mark) for column, text in texts]))
    return blocks


def _needs(cells: Mapping[Column, Sequence[str]]) -> dict[Column, int]:
    return {column: max(map(columns_of, (column.title, *texts))) for column, texts in cells.items()}


def _fitting(columns: Sequence[Column], needs: Mapping[Column, int], width: int) -> list[Column]:
    """Choose the columns that fit into one line, lowest rank first. Return these columns in the given order."""
    kept: list[Column] = []
    for column in sorted(columns, key=lambda each: each.rank):
        need = max(len(column.title), column.least) if column.rest else needs[column]
        if not kept or _together(kept, needs) + _BETWEEN + need <= width:
            kept.append(column)
    return [column for column in columns if column in kept]


def _together(columns: Sequence[Column], needs: Mapping[Column, int]) -> int:
    return sum(needs[each] for each in columns) + _BETWEEN * (len(columns) - 1)


def _cell(  # noqa: PLR0913 - everything that a cell depends on
    column: Column, row: Row, zone: tzinfo, now: datetime, mark: str, *, brief: bool = False
) -> str:
    show = column.brief if brief and column.brief else column.text
    text = escape(show(row, zone, now))
    return text if column.rest else cut_to(text, _LONGEST, mark)


def _padded(column: Column, text: str, width: int) -> str:
    return filled(text, width, right=column.right)


def _part(column: Column, text: str, width: int, mark: str) -> Part:
    padded = _padded(column, cut_to(text, width, mark), width)
    return Styled(padded, _STYLES[text]) if column.styled and text in _STYLES else padded


def _line(columns: Sequence[Column], parts: Sequence[Part]) -> Line:
    """Return a line without trailing spaces, because on a narrow terminal they would wrap onto the next line."""
    *before, last = parts
    if columns[-1].right:
        return line(*before, last)
    stripped = Styled(last.text.rstrip(), last.style) if isinstance(last, Styled) else last.rstrip()
    return Line((*before, stripped))


def plain(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a function that shows a field's value unchanged."""
    return lambda row, _zone, _now: "" if row.get(name) is None else str(row[name])


def short(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a function that shows the first eight characters of an id field."""
    return lambda row, _zone, _now: short_id(str(row.get(name) or ""))


def when(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a function that shows a time field as a time of day or a date, followed by how long ago it was."""

    def text(row: Row, zone: tzinfo, now: datetime) -> str:
        at = row.get(name)
        return clock_and_age(at, zone, now) if isinstance(at, datetime) else ""

    return text


def ago(name: str) -> Callable[[Row, tzinfo, datetime], str]:
    """Return a function that shows how long ago a time field was."""

    def text(row: Row, _zone: tzinfo, now: datetime) -> str:
        at = row.get(name)
        return age((now - at).total_seconds()) if isinstance(at, datetime) else ""

    return text
