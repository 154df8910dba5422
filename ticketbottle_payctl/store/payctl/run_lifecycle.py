"""Record how a run begins and ends, in the same way for every command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.errors import GuardError, PayctlError
from ticketbottle_payctl.logs import log_event
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

    def end(
        self,
        status: RunStatus,
        counts: Mapping[str, object] | None = None,
        *,
        ended_by: str | None = None,
        also: Callable[[Connection, str], None] = lambda _connection, _run_id: None,
    ) -> None:
        """Record how the run ended. A run that an operator cancelled stays cancelled.

        ``ended_by`` is the error's code, or the reason why the run ended before its work was done. ``also`` writes more
        rows in the same transaction, and gets the run's id.

        Raises:
            DatabaseUnavailableError: the server cannot be reached. The run is then shown as interrupted.
        """
        with transaction(self.engine, self.limits) as connection:
            runs.update(connection, self.id, status, self.counts if counts is None else counts, ended_by)
            also(connection, self.id)


class Unrecorded(NamedTuple):
    """A record that could not be written, and the reason. ``run_id`` is None if the record does not exist.

    If only the end of the run is missing, ``run_id`` is the run's id.
    """

    run_id: str | None
    error: PayctlError


@dataclass(slots=True)
class OptionalRun:
    """A run whose work continues even if its record cannot be written. ``opened`` is None if the record does not exist.

    ``unrecorded`` says what could not be written. ``unrecorded`` is None if everything was written, or if no record was
    requested.
    """

    command: str
    opened: OpenRun | None
    unrecorded: Unrecorded | None = None

    @property
    def id(self) -> str | None:
        """The recorded run's id, or None if the record does not exist or is incomplete."""
        return self.opened.id if self.opened and self.unrecorded is None else None

    def end(
        self,
        status: RunStatus,
        counts: Mapping[str, object],
        *,
        ended_by: str | None = None,
        also: Callable[[Connection, str], None] = lambda _connection, _run_id: None,
    ) -> None:
        """Record how the run ended, as :meth:`OpenRun.end` does. A failed write is only logged."""
        if self.opened is None:
            return
        try:
            self.opened.end(status, counts, ended_by=ended_by, also=also)
        except PayctlError as error:
            self.unrecorded = _logged(self.command, self.opened.id, error)


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
        ConfigError: payctl's schema or a privilege is missing.
    """

    def begin(connection: Connection) -> None:
        runs.start(connection, run)
        also(connection)

    with _held(engine, run.id, limits, begin) as opened:
        yield opened


@contextmanager
def optional_run(
    engine: Engine, run: NewRun | None, limits: Limits, *, check: Callable[[Connection], None] = lambda _: None
) -> Iterator[OptionalRun]:
    """Record a run as :func:`open_run` does, but do the work even if the record cannot be written.

    payctl's tables may be missing or read-only, and this must not prevent a payment from being settled. The failed
    write is logged, and :attr:`OptionalRun.unrecorded` contains the reason. ``check`` gets the transaction that begins
    the record. Without ``run``, nothing is written and ``check`` is not called.

    Raises:
        GuardError: ``check`` refused the work. Nothing is recorded.
    """
    with ExitStack() as stack:
        opened = unrecorded = None
        if run is not None:
            try:
                opened = stack.enter_context(open_run(engine, run, limits, also=check))
            except GuardError:
                raise
            except PayctlError as error:
                unrecorded = _logged(run.command, None, error)
        yield OptionalRun(run.command if run else "", opened, unrecorded)


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
        except BaseException as error:
            with suppress(PayctlError):  # report the error that ended the work
                opened.end(RunStatus.INTERRUPTED, ended_by=error.code if isinstance(error, PayctlError) else None)
            raise


def _logged(command: str, run_id: str | None, error: PayctlError) -> Unrecorded:
    log_event("run_not_recorded", level="warning", command=command, code=error.code, error=error)
    return Unrecorded(run_id, error)
