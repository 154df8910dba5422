"""Test that spreadsheets do not run any cell of CSV output as a formula, and that programs can read every value."""

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
    """Return the distinct CSV cells for a value, rendered in a list of items and in a single row."""
    whole = as_csv(Result("payctl.test/1", items=[{"a": "first", "b": value, "c": "last"}]))
    row = csv_row(["a", "b", "c"], {"a": "first", "b": value, "c": "last"})
    cells = [next(csv.reader(io.StringIO(text))) for text in (whole.split("\n", 1)[1], row)]
    assert [(found[0], found[2], len(found)) for found in cells] == [("first", "last", 3)] * 2
    return {found[1] for found in cells}


@pytest.mark.parametrize("text", RUN)
def test_csv_text_that_is_a_formula_begins_with_an_apostrophe(text):
    """CSV output puts an apostrophe before text that a spreadsheet would run as a formula."""
    (cell,) = both(text)
    assert cell.startswith("'")
    assert cell[1:] in {text, text.replace("\t", "\\t").replace("\r", "\\r")}


@pytest.mark.parametrize("text", KEPT)
def test_csv_text_that_is_not_a_formula_is_not_changed(text):
    """CSV output does not put an apostrophe before text that does not start like a formula."""
    assert both(text) == {text.replace("\t", "\\t")}


@pytest.mark.parametrize(("value", "cell"), VALUES)
def test_a_number_in_csv_stays_a_number(value, cell):
    """CSV output does not put an apostrophe before a negative number."""
    assert both(value) == {cell}


def test_an_instant_or_a_list_in_csv_is_not_escaped():
    """CSV output does not put an apostrophe before an instant or a list."""
    assert both(datetime(2026, 11, 29, tzinfo=UTC)) == {"2026-11-29T00:00:00.000Z"}
    assert both(["=1"]) == {'["=1"]'}


def test_csv_text_with_a_semicolon_is_quoted():
    """CSV output quotes text with a semicolon, because some spreadsheets use semicolons to separate cells."""
    row = csv_row(["a", "b"], {"a": "x;=1+1", "b": "y"})
    assert row == '"x;=1+1","y"\n'
    assert next(csv.reader(io.StringIO(row), delimiter=";"))[0].startswith("x;=1+1")


def test_csv_escapes_a_formula_in_a_nested_result():
    """CSV output escapes a formula in a nested value if the result has no items."""
    assert as_csv(Result("payctl.test/1", result={"a": {"b": "=1"}})) == "a.b\n'=1\n"
