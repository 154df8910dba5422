"""Write a result for people: aligned and coloured on a terminal, with tab-separated full values elsewhere.

This module escapes all text, so callers do not have to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from shutil import get_terminal_size
from typing import assert_never

from ticketbottle_payctl.cli.output.instants import clock, shown
from ticketbottle_payctl.cli.output.result import Block, Fields, Line, Part, Raw, Result, Styled, Table
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.theme import ANSI, Style


def as_text(result: Result, surface: Surface) -> str:
    """Return the whole result as text for people."""
    return "".join(_block(block, surface) for block in result.human or _default(result))


def paint(part: Part, surface: Surface) -> str:
    """Return a part as escaped text, in the part's colour if the stream shows colour."""
    return coloured(escaped(part, surface), surface)


def escaped(part: Part, surface: Surface) -> Part:
    """Return the part with its text escaped, so that the stream can encode it."""
    if isinstance(part, Styled):
        return Styled(surface.marks(escape(part.text)), part.style)
    return surface.marks(escape(part))


def coloured(part: Part, surface: Surface) -> str:
    """Return a part as text, in the part's colour if the stream shows colour. The part must already be escaped."""
    if isinstance(part, str):
        return part
    return f"\x1b[{ANSI[part.style]}m{part.text}\x1b[0m" if surface.colour else part.text


def lines_of(
    parts: Sequence[Part], surface: Surface, *, between: int, most: int | None = None, hang: int | None = None
) -> str:
    """Join the parts into one line. On a terminal, break it into lines that fit.

    ``most`` is the maximum width of a headline, which breaks between facts if possible.
    """
    if not surface.terminal:
        return (" " * between).join(paint(part, surface) for part in parts) + "\n"
    from ticketbottle_payctl.cli.output.folding import folded  # noqa: PLC0415 - only on a terminal

    safe = [escaped(part, surface) for part in parts]
    columns = get_terminal_size().columns
    width = columns if most is None else min(most, columns)
    rows = folded(safe, between, width, hang, by_clause=most is not None)
    return "".join("".join(coloured(part, surface) for part in row) + "\n" for row in rows)


def _default(result: Result) -> Iterable[Block]:
    if result.items:
        columns = tuple(dict.fromkeys(name for item in result.items for name in item))
        rows = tuple(tuple(item.get(name) for name in columns) for item in result.items)
        return [Table(columns, rows)]
    return [Fields((*result.counts.items(), *result.result.items()))]


def _block(block: Block, surface: Surface) -> str:
    match block:
        case Line(whole=True):
            return "  ".join(paint(part, surface) for part in block.parts) + "\n"
        case Line():
            return lines_of(block.parts, surface, between=2, most=block.most, hang=block.hang)
        case Fields():
            return _fields(block, surface)
        case Table():
            return _drawn(block, surface) if surface.terminal else _tabbed(block)
        case Raw():
            return block.text if block.text.endswith("\n") else f"{block.text}\n"
        case _:
            assert_never(block)


def _fields(fields: Fields, surface: Surface) -> str:
    present = [(escape(name), value) for name, value in fields.rows if value is not None]
    if not surface.terminal:
        return "".join(f"{name}\t{_value(value, surface, plain=True)}\n" for name, value in present)
    width = max((len(name) for name, _ in present), default=0)
    rows = ((Styled(f"  {name:<{width}}", Style.DIM), _value_part(value)) for name, value in present)
    return "".join(lines_of(row, surface, between=2) for row in rows)


def _value_part(value: object) -> Part:
    if isinstance(value, Styled):
        return value
    return clock(value) if isinstance(value, datetime) else shown(value)


def _value(value: object, surface: Surface, *, plain: bool = False) -> str:
    if isinstance(value, Styled):
        return escape(value.text) if plain and not surface.colour else paint(value, surface)
    return surface.marks(shown(value))


def _tabbed(table: Table) -> str:
    rows = [table.columns, *table.rows]
    return "".join("\t".join(_plain(value) for value in row) + "\n" for row in rows)


def _plain(value: object) -> str:
    return shown(value.text if isinstance(value, Styled) else value)


def _drawn(table: Table, surface: Surface) -> str:
    from ticketbottle_payctl.cli.output.tables import draw  # noqa: PLC0415 - rich, only if a table is drawn

    return draw(table, surface)
