"""Show the runs that operators started: a page of runs, or one run with the rows that it processed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import Publishing, publishing
from ticketbottle_payctl.errors import DatabaseUnavailableError, InputError, NotFoundError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.outbox import replay
from ticketbottle_payctl.store.outbox.replay import Progress
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Run, RunItem

_LIMITS = Limits(statement=timedelta(seconds=10))
_SINCE_LIMITS = Limits(statement=timedelta(seconds=5), lock=timedelta(seconds=1))
_SHORTEST_PREFIX = 4
REPLAY = "replay"
"""The command of the runs that requeue events."""


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs, latest first. ``more`` is True if older runs exist."""

    runs: tuple[Run, ...]
    more: bool


class SinceThen(NamedTuple):
    """The current states of the events that a replay requeued, and whether a publisher is running now."""

    progress: Progress
    publishing: Publishing


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run and its first rows. ``remaining`` is the number of planned events that the run did not reach.

    ``since`` is None if the run is not a replay, or if the states of its events could not be read.
    """

    run: Run
    items: tuple[RunItem, ...]
    more: bool
    remaining: int
    since: SinceThen | None


def list_runs(engine: Engine, limit: int, before: tuple[datetime, str] | None = None) -> RunPage:
    """Return at most ``limit`` runs, latest first. With ``before`` (time and id), return only older runs.

    Raises:
        ConfigError: payctl's schema or a privilege is missing.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = runs.page(connection, limit + 1, before)
    return RunPage(tuple(found[:limit]), more=len(found) > limit)


def show_run(engine: Engine, prefix: str, limit: int, max_retries: int) -> RunDetails:
    """Return the run whose id begins with ``prefix``, at most ``limit`` of its rows, and what happened since.

    Raises:
        NotFoundError: no run has this id.
        InputError: several runs match, or the prefix is too short.
        ConfigError: payctl's schema or a privilege is missing.
        DatabaseUnavailableError: the server cannot be reached.
    """
    found = find_run(engine, prefix)
    with transaction(engine, _LIMITS, commit=False) as connection:
        items = runs.items(connection, found.id, limit + 1)
        _, remaining = replay.remaining(connection, found.id)
    since = _since(engine, found, max_retries) if found.command == REPLAY else None
    return RunDetails(found, tuple(items[:limit]), more=len(items) > limit, remaining=remaining, since=since)


def _since(engine: Engine, run: Run, max_retries: int) -> SinceThen | None:
    """Return what has happened to a replay's events, or None if the role cannot read them or it takes too long."""
    try:
        with transaction(engine, _SINCE_LIMITS, commit=False) as connection:
            if not replay.may_read_progress(connection):
                return None
            progress = replay.progress(connection, run.id, max_retries)
            seen, known = publishers.seen(connection)
    except DatabaseUnavailableError:  # the run itself was read, so the rest of the page is still useful
        return None
    return SinceThen(progress, publishing(seen, known=known))


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
        ConfigError: payctl's schema or a privilege is missing.
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
