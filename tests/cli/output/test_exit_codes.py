from __future__ import annotations

import pkgutil
from enum import StrEnum
from importlib import import_module
from inspect import getmembers, isclass

import pytest

from ticketbottle_payctl import errors, jobs
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ERRORS, MEANINGS, OUTCOMES, ExitCode
from ticketbottle_payctl.domain import decision
from ticketbottle_payctl.errors import PayctlError


def error_classes():
    """The whole tree of payctl's errors."""
    return [kind for _, kind in getmembers(errors, isclass) if issubclass(kind, PayctlError)]


def outcome_enums():
    """Every enum of a job that says how it ended."""
    modules = [import_module(found.name) for found in pkgutil.walk_packages(jobs.__path__, f"{jobs.__name__}.")]
    enums = {kind for module in modules for _, kind in getmembers(module, isclass) if issubclass(kind, StrEnum)}
    return [
        kind
        for kind in sorted(enums, key=lambda kind: kind.__name__)
        if kind.__module__.startswith((jobs.__name__, decision.__name__))
        and kind.__name__.endswith(("Outcome", "Because"))
    ]


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_has_its_own_row(kind):
    """A class without a row would take its parent's code by accident."""
    assert kind in ERRORS
    assert exit_codes.of_error(kind("what failed")) is ERRORS[kind]


def test_a_class_made_elsewhere_takes_the_row_above_it():
    """An error that a job derives for itself keeps the meaning of its parent."""

    class StaleError(errors.LockedError):
        """Of a test."""

    assert exit_codes.of_error(StaleError("x")) is ExitCode.LOCKED


@pytest.mark.parametrize("kind", outcome_enums(), ids=lambda kind: kind.__name__)
def test_every_outcome_of_every_job_has_a_row(kind):
    """All of an enum's values are in the table, and the table knows no other."""
    assert set(OUTCOMES[kind.__name__]) == {member.value for member in kind}
    assert all(exit_codes.of_outcome(member) in MEANINGS for member in kind)


def test_the_walk_finds_the_enums():
    """The test above would pass if it found nothing."""
    assert {"WebhookOutcome", "StoppedBecause"} <= {kind.__name__ for kind in outcome_enums()}
    assert set(OUTCOMES) == {kind.__name__ for kind in outcome_enums()}


def test_every_code_has_a_meaning_and_stands_in_the_help(invoke):
    """The help's table is made from the code's."""
    help_text = " ".join(invoke("--help").stdout.split())
    assert set(MEANINGS) == set(ExitCode)
    for code, meaning in MEANINGS.items():
        assert f"{code.value} {meaning}" in help_text
