"""Show the runs that operators started: a page of runs, or one run with the rows that it processed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import replay
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Run, RunItem

_LIMITS = Limits(statement=timedelta(seconds=10))
_SHORTEST_PREFIX = 4


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs, latest first. ``more`` is True if older runs exist."""

    runs: tuple[Run, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run and its first rows. ``remaining`` is the number of planned events that the run did not reach."""

    run: Run
    items: tuple[RunItem, ...]
    more: bool
    remaining: int


def list_runs(engine: Engine, limit: int, before: tuple[datetime, str] | None = None) -> RunPage:
    """Return at most ``limit`` runs, latest first. With ``before`` (time and id), return only older runs.

    Raises:
        ConfigError: payctl's schema or a permission is missing.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = runs.page(connection, limit + 1, before)
    return RunPage(tuple(found[:limit]), more=len(found) > limit)


def show_run(engine: Engine, prefix: str, limit: int) -> RunDetails:
    """Return the run whose id begins with ``prefix``, and at most ``limit`` of its rows.

    Raises:
        NotFoundError: no run has this id.
        InputError: several runs match, or the prefix is too short.
        ConfigError: payctl's schema or a permission is missing.
        DatabaseUnavailableError: the server cannot be reached.
    """
    found = find_run(engine, prefix)
    with transaction(engine, _LIMITS, commit=False) as connection:
        items = runs.items(connection, found.id, limit + 1)
        _, remaining = replay.remaining(connection, found.id)
    return RunDetails(found, tuple(items[:limit]), more=len(items) > limit, remaining=remaining)


def count_remaining(engine: Engine, run: Run) -> int:
    """Return the number of planned events that a run did not reach.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        _, events = replay.remaining(connection, run.id)
    return events


def find_run(engine: Engine, prefix: str) -> Run:
    """Return the run whose id begins with ``prefix``.

    Raises:
        NotFoundError: no run has this id.
        InputError: several runs match, or the prefix is too short or contains a character that ids never contain.
        ConfigError: payctl's schema or a permission is missing.
        DatabaseUnavailableError: the server cannot be reached.
    """
    if len(prefix) < _SHORTEST_PREFIX or not set(prefix.lower()) <= set("0123456789abcdef-"):
        message = f"give at least {_SHORTEST_PREFIX} characters of a run's id (0-9, a-f and -)"
        raise InputError(message, hint="payctl runs list")
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = runs.find(connection, prefix)
    if not found:
        message = f"no run has the id {prefix}"
        raise NotFoundError(message, hint="payctl runs list")
    if len(found) > 1:
        message = f"run id prefix {prefix} is ambiguous"
        raise InputError(message, hint="give more characters of the id")
    return found[0]
