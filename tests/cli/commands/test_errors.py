"""Every error has a code of its own, a hint, and a place in the reference."""

from __future__ import annotations

from inspect import getmembers, isclass
from pathlib import Path

import pytest
import typer

from ticketbottle_payctl import errors
from ticketbottle_payctl.cli.app.failures import TerminatedError, describe
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.errors import PayctlError

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"
CLASSES = [kind for _, kind in getmembers(errors, isclass) if issubclass(kind, PayctlError)]
OTHERS = [typer.BadParameter("x"), typer.Abort(), KeyboardInterrupt(), TerminatedError(), ZeroDivisionError()]


def rows():
    """The reference's rows by code."""
    lines = PAGE.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row for row in cells}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_has_a_code_a_hint_and_a_row(kind):
    """Also where it is raised without a hint; what the row says is what the error says."""
    failure = describe(kind("what failed"), "payctl --help")
    assert failure.hint
    row = rows()[failure.code]
    assert row[1:3] == [str(int(exit_codes.of_error(kind("")))), "yes" if kind.retryable else "no"]
    assert row[4] == failure.hint


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_what_is_not_ours_has_a_code_a_hint_and_a_row(error):
    """Wrong usage, signals and bugs are in the reference too."""
    failure = describe(error, "payctl --help")
    assert failure.hint
    assert rows()[failure.code][1] == str(int(failure.exit_code))


def test_the_codes_are_distinct():
    """A script can tell every error from every other."""
    codes = [kind.code for kind in CLASSES]
    assert len(codes) == len(set(codes))


def test_the_reference_has_no_other_codes():
    """A row that no error has is a leftover."""
    known = {kind.code for kind in CLASSES} | {describe(error, "").code for error in OTHERS}
    assert set(rows()) == known


def test_a_hint_that_was_given_comes_first():
    """What is known where it is raised is better than the usual."""
    assert errors.InputError("x", hint="look here").hint == "look here"
