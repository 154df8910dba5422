"""Test that the table of exit codes contains every error class and every outcome of a job."""

from __future__ import annotations

import pkgutil
from enum import StrEnum
from importlib import import_module
from inspect import getmembers, isclass

import pytest

from ticketbottle_payctl import errors, jobs
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ERRORS, MEANINGS, OUTCOMES, ExitCode
from ticketbottle_payctl.domain import decision_fields
from ticketbottle_payctl.errors import PayctlError


def error_classes():
    """Return all of payctl's error classes."""
    return [kind for _, kind in getmembers(errors, isclass) if issubclass(kind, PayctlError)]


def outcome_enums():
    """Return all enums that describe how a job ended."""
    modules = [import_module(found.name) for found in pkgutil.walk_packages(jobs.__path__, f"{jobs.__name__}.")]
    enums = {kind for module in modules for _, kind in getmembers(module, isclass) if issubclass(kind, StrEnum)}
    return [
        kind
        for kind in sorted(enums, key=lambda kind: kind.__name__)
        if kind.__module__.startswith((jobs.__name__, decision_fields.__name__))
        and kind.__name__.endswith(("Outcome", "Because"))
    ]


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_class_has_its_own_exit_code(kind):
    """Every error class has its own row in the table of exit codes."""
    assert kind in ERRORS
    assert exit_codes.of_error(kind("what failed")) is ERRORS[kind]


def test_a_derived_error_class_has_its_parent_s_exit_code():
    """An error class that is defined outside errors.py has the exit code of its parent class."""

    class StaleError(errors.LockedError):
        """An error class that is defined only in this test."""

    assert exit_codes.of_error(StaleError("x")) is ExitCode.LOCKED


@pytest.mark.parametrize("kind", outcome_enums(), ids=lambda kind: kind.__name__)
def test_every_outcome_of_every_job_has_an_exit_code(kind):
    """The table of exit codes contains exactly the outcomes of all jobs."""
    assert set(OUTCOMES[kind.__name__]) == {member.value for member in kind}
    assert all(exit_codes.of_outcome(member) in MEANINGS for member in kind)


def test_the_search_for_outcome_enums_finds_all():
    """The test's search for outcome enums finds every enum in the table of exit codes."""
    assert {"WebhookOutcome", "StoppedBecause"} <= {kind.__name__ for kind in outcome_enums()}
    assert set(OUTCOMES) == {kind.__name__ for kind in outcome_enums()}


def test_every_exit_code_is_explained_in_the_help(invoke):
    """`payctl --help` lists each exit code with its meaning."""
    help_text = " ".join(invoke("--help").stdout.split())
    assert set(MEANINGS) == set(ExitCode)
    for code, meaning in MEANINGS.items():
        assert f"{code.value} {meaning}" in help_text
