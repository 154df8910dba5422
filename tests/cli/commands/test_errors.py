"""Test that every error has its own code, a hint and a row in docs/reference/errors.md."""

from __future__ import annotations

from inspect import getmembers, isclass
from pathlib import Path

import pytest
import typer

from ticketbottle_payctl import errors
from ticketbottle_payctl.cli.app.failures import TerminatedError, describe
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.errors import PayctlError

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "errors.md"
CLASSES = [kind for _, kind in getmembers(errors, isclass) if issubclass(kind, PayctlError)]
OTHERS = [typer.BadParameter("x"), typer.Abort(), KeyboardInterrupt(), TerminatedError(), ZeroDivisionError()]


def rows():
    """Return the rows of the error reference as a dictionary, with the error codes as keys."""
    lines = PAGE.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row for row in cells}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_code_a_hint_and_a_row(kind):
    """An error that is raised without a hint shows the hint from its row in docs/reference/errors.md."""
    failure = describe(kind("what failed"), "payctl --help")
    assert failure.hint
    row = rows()[failure.code]
    assert row[1:3] == [str(int(exit_codes.of_error(kind("")))), "yes" if kind.retryable else "no"]
    assert row[4] == failure.hint


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_usage_errors_signals_and_bugs_have_a_code_a_hint_and_a_row(error):
    """Usage errors, signals and bugs have a hint and a row in docs/reference/errors.md, like each PayctlError."""
    failure = describe(error, "payctl --help")
    assert failure.hint
    assert rows()[failure.code][1] == str(int(failure.exit_code))


def test_no_two_errors_have_the_same_code():
    """No two errors have the same code, so scripts can distinguish all errors."""
    codes = [kind.code for kind in CLASSES]
    assert len(codes) == len(set(codes))


def test_the_error_reference_has_no_unknown_code():
    """Every row in docs/reference/errors.md describes an error that exists."""
    known = {kind.code for kind in CLASSES} | {describe(error, "").code for error in OTHERS}
    assert set(rows()) == known


def test_a_given_hint_overrides_the_default_hint():
    """An error that is raised with a hint shows this hint instead of the default hint."""
    assert errors.InputError("x", hint="look here").hint == "look here"
