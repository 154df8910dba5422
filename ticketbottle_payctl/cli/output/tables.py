"""Draw tables on a terminal with rich. Text in cells wraps between words and is never cut off.

Markup is shown as plain text. A number stays together with its unit, if there is room. Text wraps inside a word only if
the longest words of all columns do not fit next to each other on one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from shutil import get_terminal_size

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from ticketbottle_payctl.cli.output.folding import FIGURE
from ticketbottle_payctl.cli.output.instants import clock, shown
from ticketbottle_payctl.cli.output.result import Styled, Table
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.theme import RICH, rich_theme
from ticketbottle_payctl.cli.output.width import columns_of

_BETWEEN = 3
_NARROWEST = 9
_WIDEST = 10_000
_FIGURES = re.compile(rf"(?<![^ ]){FIGURE}")
_Word = Callable[[object], str]
_GLUE = "\ue000"
"""A private-use character that is one column wide and does not count as a blank."""


def draw(table: Table, surface: Surface) -> str:
    """Return the table as text that fits the terminal's width."""
    width = _WIDEST if table.whole else get_terminal_size().columns
    fitted, widths, word = _laid_out(table, surface, width)
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, highlight=False)
    whole = set() if widths else _kept_whole(fitted, width)
    for place, name in enumerate(fitted.columns):
        numbers = bool(fitted.rows) and all(isinstance(row[place], int | float) for row in fitted.rows)
        justify: JustifyMethod = "right" if numbers else "left"
        no_wrap, fixed = table.whole or place in whole, widths[place] if widths else None
        drawn.add_column(Text(shown(name)), overflow="fold", justify=justify, no_wrap=no_wrap, width=fixed)
    for row in fitted.rows:
        drawn.add_row(*(_cell(value, surface, word) for value in row))
    return _as_text(drawn, surface, width).replace(_GLUE, " ")


def _laid_out(table: Table, surface: Surface, width: int) -> tuple[Table, list[int] | None, _Word]:
    """Return the table with the columns that fit, their widths, and the function that gives the text of a cell."""
    if not table.whole:
        for word in (_word, _split_word):
            fitted = _fitted(table, width, word)
            widths = _widths(fitted, surface, width, word)
            if widths is not None:
                return fitted, widths, word
    return _fitted(table, width, _split_word), None, _split_word


def _widths(table: Table, surface: Surface, width: int, word: _Word) -> list[int] | None:
    """Return column widths at which words are not broken, or None if the terminal is too narrow.

    The remaining width goes first to the columns that need the least extra width to show each cell on one line.
    """
    cells = [[surface.marks(cell) for cell in column] for column in _cells(table, word)]
    widths = [max(map(_longest_word, column)) for column in cells]
    left = width - sum(widths) - _BETWEEN * (len(widths) - 1)
    if left < 0:
        return None
    wanted = [max(map(columns_of, column)) - least for column, least in zip(cells, widths, strict=True)]
    for place in sorted(range(len(widths)), key=wanted.__getitem__):
        least = widths[place]
        widths[place] = _useful(cells[place], least, least + min(wanted[place], left))
        left -= widths[place] - least
    return widths


def _useful(column: list[str], least: int, most: int) -> int:
    """Return the smallest width at which the column's cells do not need more lines than at width ``most``."""
    lines = _height(column, most)
    return next((width for width in range(least, most) if _height(column, width) == lines), most)


def _height(column: list[str], width: int) -> int:
    """Return how many lines all cells need in total, if each line is at most ``width`` wide."""
    lines = 0
    for text in column:
        used = width
        for word in map(columns_of, text.split(" ")):
            fits = used + 1 + word <= width
            lines += not fits
            used = used + 1 + word if fits else word
    return lines


def _fitted(table: Table, width: int, word: _Word) -> Table:
    """Return the table without the spare columns that do not fit. Cells of spare columns are never broken."""
    for name in table.spare:
        needs = [
            max(map(columns_of if column[0] in table.spare else _longest_word, column))
            for column in _cells(table, word)
        ]
        if sum(needs) + _BETWEEN * (len(needs) - 1) <= width:
            break
        left = [place for place, column in enumerate(table.columns) if column != name]
        rows = tuple(tuple(row[place] for place in left) for row in table.rows)
        table = Table(tuple(table.columns[place] for place in left), rows, table.spare)
    return table


def _kept_whole(table: Table, width: int) -> set[int]:
    """Return the indexes of the single-word columns, such as ids, whose cells are never broken.

    Columns are chosen from left to right, as long as the other columns still fit. Ids are kept whole, because a user
    cannot copy an id that is split over two lines.
    """
    columns = _cells(table, _split_word)
    needs = [max(map(columns_of, words)) + _BETWEEN for words in columns]
    kept: set[int] = set()
    for place, words in enumerate(columns):
        others = _NARROWEST * (len(columns) - len(kept) - 1)
        if " " not in "".join(words[1:]) and sum(needs[each] for each in kept) + needs[place] + others <= width:
            kept.add(place)
    return kept


def _cells(table: Table, word: _Word) -> list[list[str]]:
    """Return the cells of each column as strings. The first string is the column's name."""
    return [[shown(name), *(word(row[place]) for row in table.rows)] for place, name in enumerate(table.columns)]


def _longest_word(text: str) -> int:
    return max(map(columns_of, text.split(" ")))


def _word(value: object) -> str:
    """Return a cell's text. Put a no-break space between a number and its unit, so that they stay on one line."""
    return _FIGURES.sub(lambda found: found[0].replace(" ", _GLUE), _split_word(value))


def _split_word(value: object) -> str:
    """Return a cell's text. A line can break at each blank in the text."""
    if isinstance(value, datetime):
        return clock(value)
    return shown(value.text if isinstance(value, Styled) else value)


def _cell(value: object, surface: Surface, word: _Word) -> Text:
    text = surface.marks(word(value))
    return Text(text, style=RICH[value.style]) if isinstance(value, Styled) else Text(text)


def _as_text(drawn: RichTable, surface: Surface, width: int) -> str:
    page = StringIO()
    console = Console(
        file=page,
        width=width,
        force_terminal=surface.colour,
        color_system="standard" if surface.colour else None,
        no_color=not surface.colour,
        markup=False,
        emoji=False,
        highlight=False,
        safe_box=not surface.unicode,
        legacy_windows=False,
        theme=rich_theme(),
    )
    console.print(drawn)
    return page.getvalue()
