"""What a number means to the shell: one table for errors, one for outcomes.

``payctl --help`` and the documentation are made from it; a test walks the error tree and every job's outcomes and
fails on a member without a row.
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
    PayctlError,
    UnavailableError,
)


class ExitCode(IntEnum):
    """Every code payctl ends with."""

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
    ExitCode.DONE: "done, or there was nothing to do",
    ExitCode.BUG: "a bug in payctl",
    ExitCode.USAGE: "wrong usage, or a file or body that is not what it claims to be",
    ExitCode.CONFIG: "configuration or credentials",
    ExitCode.UNAVAILABLE: "database, Kafka or gateway unreachable: try again later",
    ExitCode.NO: "the answer is no: signature invalid, callback refused, check failed",
    ExitCode.PARTIAL: "partly done: the items that failed are listed",
    ExitCode.GUARD: "stopped by a guard: not confirmed, protected, read-only, over the cap",
    ExitCode.NOT_FOUND: "the thing that was named does not exist",
    ExitCode.LOCKED: "somebody else holds the lock",
    ExitCode.DEADLINE: "a deadline or --wait was not reached; what was done is saved",
    ExitCode.INTERRUPTED: "Ctrl-C: what was under way was finished or rolled back first",
    ExitCode.TERMINATED: "SIGTERM: likewise",
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
    "StoppedBecause": {
        "empty": ExitCode.DONE,
        "max_batches": ExitCode.DONE,
        "deadline": ExitCode.DEADLINE,
        "signal": ExitCode.TERMINATED,
        "broker_unavailable": ExitCode.UNAVAILABLE,
        "database_unavailable": ExitCode.UNAVAILABLE,
        "failed": ExitCode.BUG,  # of an error without a row of its own: otherwise the error's code is taken
        "locked": ExitCode.LOCKED,
    },
    "CleanupStoppedBecause": {
        "empty": ExitCode.DONE,
        "deadline": ExitCode.DEADLINE,
        "signal": ExitCode.TERMINATED,
    },
}
"""By the name of the job's enum, so that nothing is imported to look a code up."""


def of_error(error: PayctlError) -> ExitCode:
    """The code for an error: its own row, or that of the nearest class above it."""
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def of_outcome(outcome: StrEnum) -> ExitCode:
    """The code for what a job decided."""
    return OUTCOMES[type(outcome).__name__][outcome.value]


def of_answer(*, yes: bool) -> ExitCode:
    """The code for a command that answers a question."""
    return ExitCode.DONE if yes else ExitCode.NO


def rows() -> list[tuple[str, str]]:
    """The table as text: number and meaning."""
    return [(str(code.value), MEANINGS[code]) for code in ExitCode]
