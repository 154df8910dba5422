"""Define payctl's exit codes in two tables: one for errors, and one for the outcomes of jobs.

``payctl --help`` and docs/reference/errors.md are generated from these tables. A test fails if an error or an outcome
has no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from ticketbottle_payctl.errors import (
    BodyTooLargeError,
    BrokerRefusedError,
    BrokerUnavailableError,
    ConfigError,
    DatabaseUnavailableError,
    GuardError,
    InputError,
    LockedError,
    NotFoundError,
    OutputError,
    PayctlError,
    UnavailableError,
)


class ExitCode(IntEnum):
    """payctl's exit codes."""

    DONE = 0
    BUG = 1
    USAGE = 2
    CONFIG = 3
    UNAVAILABLE = 4
    NO = 5
    PARTIAL = 6
    GUARD = 7
    NOT_FOUND = 8
    LOCKED = 9
    DEADLINE = 10
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done, or nothing to do",
    ExitCode.BUG: "a bug in payctl",
    ExitCode.USAGE: "a usage error, or a file or callback that cannot be read",
    ExitCode.CONFIG: "wrong or missing configuration or credentials",
    ExitCode.UNAVAILABLE: "database, Kafka or gateway unavailable, or the disk is full: try again later",
    ExitCode.NO: "the answer is no: invalid signature, refused callback, failed check",
    ExitCode.PARTIAL: "partly done: the failed items are listed",
    ExitCode.GUARD: "stopped by a guard: not confirmed, protected, read-only, over the limit, or every row left out",
    ExitCode.NOT_FOUND: "no order, event, run or other object has the given name or id",
    ExitCode.LOCKED: "another process holds the lock",
    ExitCode.DEADLINE: "the time limit was reached; finished work is saved",
    ExitCode.INTERRUPTED: "Ctrl-C; the current batch was finished or rolled back first",
    ExitCode.TERMINATED: "SIGTERM; the current batch was finished or rolled back first",
}

ERRORS: Mapping[type[PayctlError], ExitCode] = {
    PayctlError: ExitCode.BUG,
    ConfigError: ExitCode.CONFIG,
    BrokerRefusedError: ExitCode.CONFIG,
    InputError: ExitCode.USAGE,
    BodyTooLargeError: ExitCode.USAGE,
    NotFoundError: ExitCode.NOT_FOUND,
    GuardError: ExitCode.GUARD,
    LockedError: ExitCode.LOCKED,
    UnavailableError: ExitCode.UNAVAILABLE,
    DatabaseUnavailableError: ExitCode.UNAVAILABLE,
    BrokerUnavailableError: ExitCode.UNAVAILABLE,
    OutputError: ExitCode.UNAVAILABLE,
}

OUTCOMES: Mapping[str, Mapping[str, ExitCode]] = {
    "ReplayOutcome": {
        "done": ExitCode.DONE,
        "canary_empty": ExitCode.PARTIAL,
        "canary_failed": ExitCode.PARTIAL,
        "canary_timeout": ExitCode.DEADLINE,
        "too_many_errors": ExitCode.PARTIAL,
        "signal": ExitCode.TERMINATED,
        "cancelled": ExitCode.PARTIAL,
    },
    "WebhookOutcome": {
        "settled": ExitCode.DONE,
        "already_settled": ExitCode.DONE,
        "test_ping": ExitCode.DONE,
        "ignored": ExitCode.DONE,
        "refused": ExitCode.NO,
    },
    "ForwardOutcome": {
        "forwarded": ExitCode.DONE,
        "refused": ExitCode.NO,
        "failed": ExitCode.UNAVAILABLE,
    },
    "StoppedBecause": {
        "empty": ExitCode.DONE,
        "max_batches": ExitCode.DONE,
        "deadline": ExitCode.DEADLINE,
        "signal": ExitCode.TERMINATED,
        "broker_unavailable": ExitCode.UNAVAILABLE,
        "database_unavailable": ExitCode.UNAVAILABLE,
        "failed": ExitCode.BUG,  # used for an error that has no row in ERRORS
        "locked": ExitCode.LOCKED,
    },
    "CleanupStoppedBecause": {
        "empty": ExitCode.DONE,
        "deadline": ExitCode.DEADLINE,
        "signal": ExitCode.TERMINATED,
    },
}
"""The exit code for each outcome of each outcome type.

The keys are strings, so that this module need not import the jobs.
"""


def of_error(error: PayctlError) -> ExitCode:
    """Return the exit code for an error, from the row for the error's class or its nearest base class."""
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def of_outcome(outcome: StrEnum) -> ExitCode:
    """Return the exit code for a job's outcome."""
    return OUTCOMES[type(outcome).__name__][outcome.value]


def of_answer(*, yes: bool) -> ExitCode:
    """Return the exit code for a command whose answer is yes or no."""
    return ExitCode.DONE if yes else ExitCode.NO


def rows() -> list[tuple[str, str]]:
    """Return each exit code with its meaning, as text."""
    return [(str(code.value), MEANINGS[code]) for code in ExitCode]
