"""CSV that a spreadsheet opens: no cell is run as a formula, and nothing that a program reads is lost."""

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
    """The cell of a value in a list that is written at once, and in one that is written row by row."""
    whole = as_csv(Result("payctl.test/1", items=[{"a": "first", "b": value, "c": "last"}]))
    row = csv_row(["a", "b", "c"], {"a": "first", "b": value, "c": "last"})
    cells = [next(csv.reader(io.StringIO(text))) for text in (whole.split("\n", 1)[1], row)]
    assert [(found[0], found[2], len(found)) for found in cells] == [("first", "last", 3)] * 2
    return {found[1] for found in cells}


@pytest.mark.parametrize("text", RUN)
def test_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(text):
    """The apostrophe tells a spreadsheet that the cell is text."""
    (cell,) = both(text)
    assert cell.startswith("'")
    assert cell[1:] in {text, text.replace("\t", "\\t").replace("\r", "\\r")}


@pytest.mark.parametrize("text", KEPT)
def test_other_text_is_not_changed(text):
    """A sign inside a text runs nothing. Control characters are escaped as everywhere."""
    assert both(text) == {text.replace("\t", "\\t")}


@pytest.mark.parametrize(("value", "cell"), VALUES)
def test_a_number_stays_a_number(value, cell):
    """A negative amount is no formula."""
    assert both(value) == {cell}


def test_an_instant_and_a_structure_begin_with_no_sign():
    """They are written as before."""
    assert both(datetime(2026, 11, 29, tzinfo=UTC)) == {"2026-11-29T00:00:00.000Z"}
    assert both(["=1"]) == {'["=1"]'}


def test_a_semicolon_does_not_begin_a_cell():
    """A spreadsheet that separates cells by semicolons finds the whole text in quotes."""
    row = csv_row(["a", "b"], {"a": "x;=1+1", "b": "y"})
    assert row == '"x;=1+1","y"\n'
    assert next(csv.reader(io.StringIO(row), delimiter=";"))[0].startswith("x;=1+1")


def test_nested_results_are_safe_too():
    """A result without items is one row; its text comes from rows and files as well."""
    assert as_csv(Result("payctl.test/1", result={"a": {"b": "=1"}})) == "a.b\n'=1\n"
