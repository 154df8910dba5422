"""Record how a run begins and ends, in the same way for every command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.run_lock import at_work
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus


@dataclass(slots=True)
class OpenRun:
    """A run whose lock this process holds. ``counts`` are recorded if the work raises an error."""

    engine: Engine
    id: str
    limits: Limits
    counts: dict[str, int] = field(default_factory=dict)

    def end(self, status: RunStatus, counts: Mapping[str, int] | None = None) -> None:
        """Record the status and the counts with which the run ended. A run that an operator cancelled stays cancelled.

        Raises:
            DatabaseUnavailableError: the server cannot be reached. The run is then shown as interrupted.
        """
        with transaction(self.engine, self.limits) as connection:
            runs.update(connection, self.id, status, self.counts if counts is None else counts)


@contextmanager
def open_run(
    engine: Engine, run: NewRun, limits: Limits, *, also: Callable[[Connection], None] = lambda _: None
) -> Iterator[OpenRun]:
    """Record that a run has begun, and hold the run's lock during the block.

    ``also`` writes more rows in the same transaction.

    The block must call :meth:`OpenRun.end`. If the block raises, the run is recorded as interrupted with the counts so
    far. If the process is killed or the database is unavailable, the record still says ``running``, but the lock is
    free, so readers see ``interrupted``.

    Raises:
        LockedError: another process is running this run.
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: payctl's schema or a permission is missing.
    """

    def begin(connection: Connection) -> None:
        runs.start(connection, run)
        also(connection)

    with _held(engine, run.id, limits, begin) as opened:
        yield opened


@contextmanager
def reopened_run(engine: Engine, run_id: str, limits: Limits, begin: Callable[[Connection], None]) -> Iterator[OpenRun]:
    """Hold the lock of an earlier run during the block, and record how the run ends as :func:`open_run` does.

    ``begin`` records the operator who resumes the run.

    Raises:
        LockedError: another process is running this run.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with _held(engine, run_id, limits, begin) as opened:
        yield opened


@contextmanager
def _held(engine: Engine, run_id: str, limits: Limits, begin: Callable[[Connection], None]) -> Iterator[OpenRun]:
    with at_work(engine, run_id):
        with transaction(engine, limits) as connection:
            begin(connection)
        opened = OpenRun(engine, run_id, limits)
        try:
            yield opened
        except BaseException:
            with suppress(PayctlError):  # report the error that ended the work
                opened.end(RunStatus.INTERRUPTED)
            raise
