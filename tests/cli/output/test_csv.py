"""Test CSV for spreadsheets: a spreadsheet runs no cell as a formula, and a program reads every value unchanged."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ticketbottle_payctl.cli.output.machine import as_csv, csv_row
from ticketbottle_payctl.cli.output.result import Result

RUN = [
    "=1+1", "=cmd|' /C calc'!A0", "+84901234567", "-2+3", "@SUM(1)", "\t=1+1", "\r=1+1",
    *(f"{wide}1+1" for wide in "\uff1d\uff0b\uff0d\uff20"),
    '=HYPERLINK("https://example.test","x")',
]  # fmt: skip
KEPT = ["TB-1", "a=b", "1-2", " =1", "", "0", "'quoted", "Nguyễn", "2026-11-29T00:00:00Z", "a\t=1"]
VALUES = [(-5, "-5"), (-0.5, "-0.5"), (Decimal("-1.50"), "-1.50"), (True, "true"), (None, "")]


def both(value):
    """Return the CSV cell of a value, once written as a whole list and once row by row."""
    whole = as_csv(Result("payctl.test/1", items=[{"a": "first", "b": value, "c": "last"}]))
    row = csv_row(["a", "b", "c"], {"a": "first", "b": value, "c": "last"})
    cells = [next(csv.reader(io.StringIO(text))) for text in (whole.split("\n", 1)[1], row)]
    assert [(found[0], found[2], len(found)) for found in cells] == [("first", "last", 3)] * 2
    return {found[1] for found in cells}


@pytest.mark.parametrize("text", RUN)
def test_csv_text_that_is_a_formula_begins_with_an_apostrophe(text):
    """CSV puts an apostrophe before text that begins like a formula, so that a spreadsheet reads it as text."""
    (cell,) = both(text)
    assert cell.startswith("'")
    assert cell[1:] in {text, text.replace("\t", "\\t").replace("\r", "\\r")}


@pytest.mark.parametrize("text", KEPT)
def test_csv_text_that_is_not_a_formula_is_not_changed(text):
    """CSV escapes a formula sign only at the beginning of a text."""
    assert both(text) == {text.replace("\t", "\\t")}


@pytest.mark.parametrize(("value", "cell"), VALUES)
def test_a_number_in_csv_stays_a_number(value, cell):
    """A negative amount is not escaped as a spreadsheet formula."""
    assert both(value) == {cell}


def test_an_instant_or_a_list_in_csv_is_not_escaped():
    """CSV does not escape an instant or a list, because it begins with no sign of a formula."""
    assert both(datetime(2026, 11, 29, tzinfo=UTC)) == {"2026-11-29T00:00:00.000Z"}
    assert both(["=1"]) == {'["=1"]'}


def test_csv_text_with_a_semicolon_is_quoted():
    """A spreadsheet that separates cells by semicolons would otherwise read a formula behind the semicolon."""
    row = csv_row(["a", "b"], {"a": "x;=1+1", "b": "y"})
    assert row == '"x;=1+1","y"\n'
    assert next(csv.reader(io.StringIO(row), delimiter=";"))[0].startswith("x;=1+1")


def test_csv_escapes_a_formula_in_a_nested_result():
    """In CSV, a result without items is one row, and its text is escaped like the text of items."""
    assert as_csv(Result("payctl.test/1", result={"a": {"b": "=1"}})) == "a.b\n'=1\n"
