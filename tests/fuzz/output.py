"""Check how payctl writes untrusted text for a terminal, for a program and for a log."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from rich.cells import cell_len

from tests.fuzz.draw import Draw
from tests.fuzz.oracle import OWN_COLOUR, SECRET, is_harmless
from ticketbottle_payctl.cli.commands.list.columns import OUTBOX, PAYMENTS, RECEIPTS
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.folding import _WORD
from ticketbottle_payctl.cli.output.machine import Invocation, as_csv, as_json, as_ndjson
from ticketbottle_payctl.cli.output.narrow_table import narrow
from ticketbottle_payctl.cli.output.output_format import Colour
from ticketbottle_payctl.cli.output.result import Failure, Fields, Line, Part, Result, Styled, Table
from ticketbottle_payctl.cli.output.screen import Cell, fitted
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import as_text, escaped
from ticketbottle_payctl.cli.output.theme import Style
from ticketbottle_payctl.cli.output.writer import tell_failure
from ticketbottle_payctl.redaction import redact, register
from ticketbottle_payctl.secret import Secret

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
_INVOCATION = Invocation("list outbox", None, NOW, 5)
_STYLES = (None, *Style)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_KINDS = (OUTBOX, PAYMENTS, RECEIPTS)
_NARROWEST = 40
_LONGEST = 1500
_LONGEST_NAME = 60
"""The maximum length of a field name.

Field names are fixed words in payctl, and the following lines are indented by this length.
"""

_SHORTEST_ALONE = 30
"""The smallest width, in columns, that folding leaves for indented text. A longer word might not fit."""

csv.field_size_limit(10**7)


@contextmanager
def columns(number: int) -> Iterator[None]:
    """Set the terminal's width, in columns, during the ``with`` block."""
    kept, os.environ = os.environ, {"COLUMNS": str(number), "LINES": "24"}  # type: ignore[assignment]
    try:
        yield
    finally:
        os.environ = kept  # noqa: B003 - restores the process's own object


def surface_in(draw: Draw) -> Surface:
    """Return an output stream of the kind that the input selects."""
    number = draw.byte()
    return Surface(terminal=not number & 1, colour=bool(number & 2), unicode=not number & 4)


def part_in(draw: Draw) -> Part:
    """Return a string with or without a style."""
    style, text = draw.pick(_STYLES), draw.text()
    return text if style is None else Styled(text, style)


def text_of(part: Part) -> str:
    """Return the text of a part without its style."""
    return part.text if isinstance(part, Styled) else part


def terminal(data: bytes) -> None:
    """Assert that lines and errors contain no control character, and that lines fit the terminal."""
    draw = Draw(data, _LONGEST)
    width, surface = _NARROWEST + draw.byte() % 120, surface_in(draw)
    failure = Failure("INPUT", draw.text(), ExitCode.USAGE, draw.text())
    line = Line(tuple(part_in(draw) for _ in range(1 + draw.byte() % 4)), hang=draw.byte() % 4 or None)
    names = Fields(tuple((draw.text()[:_LONGEST_NAME], part_in(draw)) for _ in range(draw.byte() % 3)))
    told = io.StringIO()
    with columns(width):
        text, others = (as_text(Result("", human=[block]), surface) for block in (line, names))
        with redirect_stderr(told):
            tell_failure(failure, Colour.NEVER)
        row = [part_in(draw), Cell((part_in(draw),), draw.byte() % 30), part_in(draw)]
        shown = fitted(row, width, surface)
    is_harmless(text + others, colour=surface.colour, tabs=not surface.terminal)
    given = "".join(text_of(escaped(part, surface)) for part in line.parts)
    assert _without_blanks(OWN_COLOUR.sub("", text)) == _without_blanks(given), "folding lost a character"
    is_harmless(told.getvalue())
    screen = "".join(map(text_of, shown))
    is_harmless(screen)
    assert cell_len(screen) <= width
    if surface.terminal:
        _fits(text, width)
        _fits(others, width)


def tables(data: bytes) -> None:
    """Assert that no line of a table or list is wider than the terminal or contains a control character."""
    draw = Draw(data, _LONGEST)
    width, surface = 2 * _NARROWEST + draw.byte() % 80, Surface(terminal=True, colour=False, unicode=draw.flag())
    if draw.flag():
        number = 1 + draw.byte() % 4
        names = tuple(draw.text()[:20] for _ in range(number))
        rows = tuple(tuple(_cell(draw) for _ in range(number)) for _ in range(1 + draw.byte() % 3))
        with columns(width):
            text = as_text(Result("", human=[Table(names, rows, spare=names[-1:])]), surface)
    else:
        kind = draw.pick(_KINDS)
        listed = [{name: _cell(draw) for name in kind.fields[:12]} for _ in range(1 + draw.byte() % 2)]
        stdout = io.TextIOWrapper(io.BytesIO(), "utf-8" if surface.unicode else "ascii")
        with columns(width), redirect_stdout(stdout):
            text = as_text(Result("", human=narrow(kind.narrow, listed, UTC, NOW)), surface)
    is_harmless(text)
    assert max(map(cell_len, text.split("\n"))) <= width


def machine(data: bytes) -> None:
    """Assert that programs read back exactly the written values, and that no CSV cell is a formula."""
    draw = Draw(data, _LONGEST)
    items = [{f"field{number}": draw.value() for number in range(draw.byte() % 4)} for _ in range(1 + draw.byte() % 2)]
    result = Result("payctl.test/1", items=items, result={"value": draw.value()}, warnings=[draw.text()])
    whole, lines, table = as_json(result, _INVOCATION), as_ndjson(result, _INVOCATION), as_csv(result)
    assert json.loads(whole)["items"] == json.loads(json.dumps(items))
    assert json.loads(lines.split("\n")[0])["type"] in {"item", "summary"}
    for text in (whole, lines, table):
        is_harmless(text)
    for row in csv.reader(io.StringIO(table)):
        for cell in row:
            assert not cell.startswith(_FORMULA) or _is_number(cell), ascii(cell)


def redaction(data: bytes) -> None:
    """Assert that redaction hides a registered secret, a URL's password and a MAC in any surrounding text."""
    register(Secret(SECRET))
    draw = Draw(data, _LONGEST)
    before, after = draw.text(), draw.text()
    spelled = draw.pick((SECRET, quote(SECRET, safe=""), SECRET + SECRET))
    shown = redact(f"{before}{spelled}{after}")
    assert SECRET not in shown
    redact(before)
    user = "".join(each for each in draw.text()[:40] if each.isalnum())
    shown = redact(f"{before} postgresql://{user}:Xq7-{SECRET[:5]}w@h:1/d {after}")
    assert f"Xq7-{SECRET[:5]}w" not in shown
    mac = "0a" * 32
    assert mac not in redact(f"{before} {mac} {after}")


def _cell(draw: Draw) -> object:
    """Return a cell value, which is usually a string and sometimes an instant or a number."""
    match draw.byte() % 6:
        case 0:
            return None
        case 1:
            return NOW - timedelta(seconds=draw.byte() ** 3)
        case 2:
            return draw.byte() ** 4
        case _:
            return draw.text()[:500]


def _fits(text: str, width: int) -> None:
    """Assert that a line is too wide for the terminal only if its last word is too long or it contains a command."""
    for line in OWN_COLOUR.sub("", text).split("\n"):
        if cell_len(line) > width and "payctl " not in text:
            *before, last = _WORD.findall(line)
            assert cell_len("".join(before)) <= width, (width, line)
            assert cell_len(last) > _SHORTEST_ALONE, (width, line)


def _without_blanks(text: str) -> str:
    return text.replace("\n", "").replace(" ", "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
