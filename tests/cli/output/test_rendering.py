"""Test that lines, tables, JSON and CSV are complete, and are safe on a terminal even with hostile text."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime
from unicodedata import category

import pytest

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.machine import Invocation, as_csv, as_json, as_ndjson
from ticketbottle_payctl.cli.output.output_format import Colour
from ticketbottle_payctl.cli.output.result import Fields, Result, Table, bad, bold, good, line
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import as_text
from ticketbottle_payctl.cli.output.writer import surface_of

INVOCATION = Invocation("list outbox", "staging", datetime(2026, 11, 22, 3, 4, 5, 678_000, UTC), 12)
TERMINAL = Surface(terminal=True, colour=True)
PIPE = Surface(terminal=False, colour=False)
HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m",
    "a\rb\x08c",
    "two\nlines\tand tab",
    "\u202egnp.exe",
    "\u2066\u2069\u200f\u061c",
    "zero\u200bwidth\ufeff",
    "line\u2028separator",
    "\x00\x7f\x85",
    "\ud800 alone",
    "\U000e0041tag",
    "\ue000private",
]
HARMLESS = ["Nguyễn Văn Á", "[bold]not markup[/bold]", ":smile:", "✔ 450,000 ₫", "日本", "e\u0301", "a\\x1b"]


def is_safe(text):
    """Return whether a string contains no control, bidirectional or invisible characters."""
    forbidden = [*range(0x20), *range(0x7F, 0xA0), 0x61C, *range(0x200B, 0x2010), *range(0x2028, 0x202F)]
    forbidden += [*range(0x2060, 0x2070), 0xFEFF, *range(0xD800, 0xE000), *range(0xE0000, 0xE0080)]
    return not set(map(ord, text)) & set(forbidden)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_escaped(text):
    """`payctl` escapes control, bidirectional and invisible characters in its output."""
    assert is_safe(escape(text))
    assert "\\" in escape(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_not_escaped(text):
    """`payctl` does not escape markup, emoji names, or letters of any script."""
    assert escape(text) == text


def test_every_character_of_unicode_is_shown_or_escaped_by_its_category():
    """`payctl` escapes each control, format, private, unassigned and separating character, but no other character."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    characters = map(chr, range(sys.maxunicode + 1))
    wrong = [each for each in characters if (escape(each) != each) != (category(each) in hidden)]
    assert wrong == []


@pytest.mark.parametrize(("text", "shown"), [("\x1b", r"\x1b"), ("\u202e", r"\u202e"), ("\n", r"\n")])
def test_escapes_have_the_usual_form(text, shown):
    """`payctl` escapes a control character in the same way as Python."""
    assert escape(text) == shown


@pytest.mark.parametrize("surface", [TERMINAL, PIPE, Surface(terminal=True, colour=False)])
@pytest.mark.parametrize("text", HOSTILE + HARMLESS)
def test_every_block_escapes_hostile_text(text, surface):
    """Lines, fields and tables contain no control characters except payctl's own colours and line breaks."""
    blocks = [
        line(text, bad(text)),
        Fields(((text, text), ("b", bold(text)))),
        Table(("c", text), (("x", text), (1, good(text)))),
    ]
    shown = as_text(Result("payctl.test/1", human=blocks), surface)
    for ours in ("\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m", "\n", "\t"):
        shown = shown.replace(ours, "")
    assert is_safe(shown)


@pytest.mark.parametrize("text", HOSTILE + HARMLESS)
@pytest.mark.parametrize("form", [as_json, as_ndjson])
def test_json_keeps_the_text_and_is_safe_on_a_terminal(text, form):
    """JSON output contains no control characters, and a program that parses it gets the exact original text."""
    written = form(Result("payctl.test/1", result={"text": text}), INVOCATION)
    assert json.loads(written)["result"]["text"] == text
    assert is_safe(written.replace("\n", ""))


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_is_safe_on_a_terminal(text):
    """CSV output contains no control characters."""
    assert is_safe(as_csv(Result("payctl.test/1", items=[{"text": text}])).replace("\n", ""))


def test_a_table_in_a_pipe_is_tab_separated_and_complete():
    """If the output is piped, a table has one tab-separated line for each row, and no cell is shortened."""
    long = "x" * 5000
    table = Table(("id", "error", "at"), ((1, long, None), (2, "a\tb\nc", datetime(2026, 1, 2, tzinfo=UTC))))
    lines = as_text(Result("payctl.test/1", human=[table]), PIPE).splitlines()
    assert lines == ["id\terror\tat", f"1\t{long}\t", "2\ta\\tb\\nc\t2026-01-02T00:00:00.000Z"]


def test_a_wide_table_on_a_terminal_is_wrapped(monkeypatch):
    """On a terminal, a cell that is too wide continues on the next line."""
    monkeypatch.setenv("COLUMNS", "60")
    shown = as_text(Result("payctl.test/1", human=[Table(("id", "error"), ((1, "x" * 200),))]), TERMINAL)
    assert shown.count("x") == 200
    plain = shown.replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert max(map(len, plain.splitlines())) <= 60


@pytest.mark.parametrize(
    ("width", "columns"),
    [(60, ["order", "created"]), (80, ["order", "created", "status"]), (130, ["order", "created", "status", "id"])],
)
def test_a_narrow_terminal_leaves_out_spare_columns(monkeypatch, width, columns):
    """On a narrow terminal, a table leaves out columns that are not essential.

    Order codes and ids stay on one line, so users can copy them.
    """
    monkeypatch.setenv("COLUMNS", str(width))
    row = ("TB-ROCKHN-20261129-7K2M9QXA", datetime(2026, 11, 29, 9, 53, 6, 539_000, UTC), "COMPLETED" * 2, "7" * 36)
    table = Table(("order", "created", "status", "id"), (row,), spare=("id", "status"))
    shown = as_text(Result("payctl.test/1", human=[table]), Surface(terminal=True, colour=False))
    assert shown.splitlines()[0].split() == columns
    assert all(str(row[place]) in shown for place in (0, 2, 3)[: len(columns) - 1])
    assert "2026-11-29" in shown
    assert "09:53:06.539" in shown
    assert as_text(Result("payctl.test/1", human=[table]), PIPE).split("\n")[0].split("\t") == [*table.columns]


def test_items_are_shown_as_a_table_by_default():
    """If a result contains only items, payctl shows it as a table."""
    assert as_text(Result("payctl.test/1", items=[{"a": 1, "b": None}, {"a": 2, "c": [1]}]), PIPE) == (
        "a\tb\tc\n1\t\t\n2\t\t[1]\n"
    )


def test_the_json_document_always_has_every_field():
    """The JSON document always contains every field, and its ``ok`` field is true only if the exit code is 0."""
    document = json.loads(as_json(Result("payctl.test/1", ExitCode.PARTIAL, counts={"failed": 1}), INVOCATION))
    assert document == {
        "schema": "payctl.test/1",
        "ok": False,
        "exit_code": 6,
        "command": "list outbox",
        "profile": "staging",
        "dry_run": False,
        "run_id": None,
        "started_at": "2026-11-22T03:04:05.678Z",
        "duration_ms": 12,
        "counts": {"failed": 1},
        "result": {},
        "items": [],
        "truncated": False,
        "next": None,
        "warnings": [],
        "error": None,
    }


def test_csv_flattens_a_result_and_lists_items():
    """In CSV output, a nested value's column is named after the value's path, and a missing value is an empty cell."""
    one = as_csv(
        Result("payctl.test/1", counts={"n": 1}, result={"reply": {"status": 200}, "hints": ["a", "b"], "ok": True})
    )
    assert list(csv.reader(io.StringIO(one))) == [
        ["n", "reply.status", "hints", "ok"],
        ["1", "200", '["a", "b"]', "true"],
    ]
    many = as_csv(Result("payctl.test/1", items=[{"a": 'q"uote,'}, {"b": None}]))
    assert list(csv.reader(io.StringIO(many))) == [["a", "b"], ['q"uote,', ""], ["", ""]]


def test_csv_of_an_empty_result_is_empty():
    """If a result has no columns, its CSV output is empty."""
    assert as_csv(Result("payctl.test/1")) == ""


class Screen(io.StringIO):
    """A text stream that pretends to be a terminal."""

    def isatty(self):
        """Return True, as a terminal does."""
        return True


@pytest.mark.parametrize(
    ("colour", "environ", "shown"),
    [
        (Colour.AUTO, {}, True),
        (Colour.AUTO, {"NO_COLOR": "1"}, False),
        (Colour.AUTO, {"NO_COLOR": ""}, True),
        (Colour.AUTO, {"TERM": "dumb"}, False),
        (Colour.ALWAYS, {"NO_COLOR": "1", "TERM": "dumb"}, True),
        (Colour.NEVER, {}, False),
    ],
)
def test_no_color_and_dumb_terminals_turn_colour_off(colour, environ, shown):
    """NO_COLOR and TERM=dumb turn colour off, unless --color always is given."""
    assert surface_of(Screen(), colour, environ).colour is shown


def test_a_closed_stream_does_not_count_as_a_terminal():
    """`payctl` does not treat a closed stream as a terminal, and does not raise an error."""
    closed = io.StringIO()
    closed.close()
    assert not surface_of(closed, Colour.AUTO, {}).terminal
