"""Apply a plan: first a canary, then one chunk per transaction, at a limited rate. Stop after too many failures.

payctl stores the plan with the run before it changes the first row. Therefore a run that ends early can be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from threading import Event

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.causes import Activity, Publishing, publishing
from ticketbottle_payctl.errors import GuardError, PayctlError
from ticketbottle_payctl.formats import command_line
from ticketbottle_payctl.jobs.replay.read_report import read_report
from ticketbottle_payctl.jobs.replay.report import (
    CanaryWait,
    PlannedEvent,
    ReplayOptions,
    ReplayOutcome,
    ReplayPlan,
    ReplayReport,
)
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.outbox import replay as store
from ticketbottle_payctl.store.outbox.replay import CHUNK, Progress, Row
from ticketbottle_payctl.store.payctl import run_items, runs
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run, reopened_run
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun, Run, RunAction, RunStatus

COMMAND = "replay"
_LIMITS = Limits(statement=timedelta(seconds=30), lock=timedelta(seconds=5))
_LOOK_EVERY = 1.0
_CANARY_PAUSE = 0.25
_MOVED = Publishing(Activity.RUNNING)
"""The state while the canary's events are being published, even if the database shows no publisher."""

_STATUS = {
    ReplayOutcome.DONE: RunStatus.DONE,
    ReplayOutcome.CANARY_EMPTY: RunStatus.STOPPED,
    ReplayOutcome.CANARY_FAILED: RunStatus.STOPPED,
    ReplayOutcome.CANARY_TIMEOUT: RunStatus.STOPPED,
    ReplayOutcome.TOO_MANY_ERRORS: RunStatus.STOPPED,
    ReplayOutcome.SIGNAL: RunStatus.INTERRUPTED,
    ReplayOutcome.CANCELLED: RunStatus.CANCELLED,
}
Tell = Callable[[int], None]
"""A function that is called after each transaction with the number of planned events processed so far."""


OnCanary = Callable[[CanaryWait], None]
"""A function that is called several times a second while the run waits for the canary."""


def _silent(_news: int | CanaryWait) -> None:
    pass


def replay(  # noqa: PLR0913 - one argument per option
    engine: Engine,
    plan: ReplayPlan,
    run: NewRun,
    options: ReplayOptions,
    *,
    max_retries: int,
    stop: Event | None = None,
    tell: Tell = _silent,
    on_canary: OnCanary = _silent,
    resume_with: str | None = None,
) -> ReplayReport:
    """Record the run with its plan, then apply the plan. Skip and record each row that changed after the plan.

    Each transaction changes at most 1,000 events. ``resume_with`` is the command that resumes the run. Error messages
    show this command as a hint.

    Raises:
        DatabaseUnavailableError: the server cannot be reached. The run can be resumed if it was recorded.
        ConfigError: payctl's schema or a privilege is missing.
    """

    def store_plan(connection: Connection) -> None:
        store.store_plan(connection, run.id, _chunks(plan.events, options))
        for start in range(0, len(plan.left_out), CHUNK):
            left = plan.left_out[start : start + CHUNK]
            run_items.left_alone(connection, run.id, [(one.id, one.reason.value) for one in left])

    with open_run(engine, run, _LIMITS, also=store_plan):
        return _Application(
            engine, run.id, options, max_retries=max_retries, stop=stop, tell=tell, on_canary=on_canary
        ).run(resume_with)


def resume_run(  # noqa: PLR0913 - one argument per option
    engine: Engine,
    run: Run,
    who: Actor,
    reason: str | None = None,
    *,
    max_retries: int,
    stop: Event | None = None,
    tell: Tell = _silent,
    on_canary: OnCanary = _silent,
    resume_with: str | None = None,
) -> ReplayReport:
    """Apply the rest of a recorded run's plan, with the run's own options. Record who resumed the run.

    ``resume_with`` is the command that resumes the run. Error messages show this command as a hint.

    Raises:
        GuardError: the run belongs to another command, or was cancelled.
        LockedError: the run is still running.
        DatabaseUnavailableError: the server cannot be reached. The run can be resumed again.
    """
    if run.command != COMMAND:
        raise _nothing_to_resume(run, f"is a {run.command}")
    options = ReplayOptions.restored(run.options)
    earlier: dict[tuple[str, str | None], int] = {}

    def begin(connection: Connection) -> None:
        if not runs.act(connection, run.id, RunAction.RESUMED, who, reason):
            raise _nothing_to_resume(run, "was cancelled")
        earlier.update(store.outcomes(connection, run.id))

    with reopened_run(engine, run.id, _LIMITS, begin):
        return _Application(
            engine, run.id, options, max_retries=max_retries, stop=stop, tell=tell, on_canary=on_canary, earlier=earlier
        ).run(resume_with)


def cancel_run(engine: Engine, run: Run, who: Actor, reason: str | None = None) -> int:
    """Cancel a run permanently, even if it is running. Return the number of planned events that the run did not reach.

    Requeued events stay requeued. The record says who cancelled the run. A run that is done stays done.

    Raises:
        GuardError: the run belongs to another command and is running. Only a replay checks whether it has been
            cancelled.
    """
    if run.command != COMMAND and run.status == RunStatus.RUNNING:
        message = f"run {run.id} ({run.command}) is running, and this command cannot stop it"
        raise GuardError(message, hint=f"stop it with Ctrl-C or SIGTERM on {run.who.host}, where it runs")
    with transaction(engine, _LIMITS) as connection:
        _, events = store.remaining(connection, run.id)
        if run.status != RunStatus.DONE:
            runs.act(connection, run.id, RunAction.CANCELLED, who, reason)
            runs.count(connection, run.id, {"remaining": events})
    return events


def _nothing_to_resume(run: Run, why: str) -> GuardError:
    message = f"run {run.id} {why}: there is nothing to resume"
    again = (
        "`payctl runs list`, or run the command again to do the rest" if run.status == RunStatus.INCOMPLETE else None
    )
    return GuardError(message, hint=again or "payctl runs list")


def _chunks(events: Sequence[PlannedEvent], options: ReplayOptions) -> Iterator[list[Row]]:
    first = options.canary or options.chunk
    bounds = [0, *range(first, len(events), options.chunk), len(events)]
    for start, end in pairwise(bounds):
        if end > start:
            yield [event.row for event in events[start:end]]


class _Application:
    def __init__(  # noqa: PLR0913 - one argument per option
        self,
        engine: Engine,
        run_id: str,
        options: ReplayOptions,
        *,
        max_retries: int,
        stop: Event | None,
        tell: Tell,
        on_canary: OnCanary,
        earlier: Mapping[tuple[str, str | None], int] | None = None,
    ) -> None:
        self._engine, self._run_id, self._options = engine, run_id, options
        self._max_retries, self._stop, self._tell = max_retries, stop or Event(), tell
        self._on_canary = on_canary
        self._publishing: Publishing | None = None
        self._earlier = earlier or {}
        self._began = self._looked = time.monotonic()
        self._decided = self._locked = 0

    def run(self, resume_with: str | None) -> ReplayReport:
        try:
            return self._report(self._apply())
        except PayctlError as error:
            way_on = f"then `{resume_with or command_line(['runs', 'resume'], [self._run_id])}`"
            if error.sql:  # the statement is shown after the hint, so the hint must end with the words for psql
                error.hint = f"run the SQL statement, {way_on}; {error.hint}"
            else:
                error.hint = f"{error.hint}, {way_on}" if error.hint else way_on
            raise

    def _apply(self) -> ReplayOutcome:
        if self._options.canary and self._canary_is_out():
            trouble = self._await_canary()
            if trouble is not None:
                return trouble
        while not self._stop.is_set():
            began = time.monotonic()
            with transaction(self._engine, _LIMITS) as connection:
                chunk = store.apply_next(
                    connection,
                    self._run_id,
                    allow_published=self._options.allow_published,
                    allow_superseded=self._options.allow_superseded,
                )
            if chunk is None:
                return ReplayOutcome.CANCELLED if self._some_left() else ReplayOutcome.DONE
            self._count(chunk)
            trouble = self._check()
            if trouble is None and chunk.number == 0 and self._options.canary:
                trouble = self._await_canary()
            if trouble is not None:
                return trouble
            self._pace(began, sum(chunk.outcomes.values()))
        return ReplayOutcome.SIGNAL if self._some_left() else ReplayOutcome.DONE

    def _count(self, chunk: store.Chunk) -> None:
        self._decided += sum(chunk.outcomes.values())
        self._locked += sum(count for (outcome, _), count in chunk.outcomes.items() if outcome == "failed")
        self._tell(self._decided)

    def _some_left(self) -> bool:
        with transaction(self._engine, _LIMITS, commit=False) as connection:
            return store.remaining(connection, self._run_id)[0] > 0

    def _canary_is_out(self) -> bool:
        """Return whether an earlier attempt of this run has already applied the canary."""
        with transaction(self._engine, _LIMITS, commit=False) as connection:
            return bool(store.outcomes(connection, self._run_id, chunk=0))

    def _await_canary(self) -> ReplayOutcome | None:
        """Wait until the canary's events are published. Return how the run ends, or None if the run can continue.

        The run can continue if at least one of the canary's events was requeued and all requeued events are published.
        """
        deadline = time.monotonic() + self._options.canary_patience.total_seconds()
        before: Progress | None = None
        while not self._stop.is_set():
            now, seen = self._canary_now()
            self._publishing = seen if before is None or before == now else _MOVED
            before = now
            if now.dead:
                return ReplayOutcome.CANARY_FAILED
            if now.pending == 0:
                return None if now.published else ReplayOutcome.CANARY_EMPTY
            left = deadline - time.monotonic()
            if left <= 0:
                return ReplayOutcome.CANARY_TIMEOUT
            self._on_canary(CanaryWait(now.published, now.published + now.pending, left, self._publishing))
            self._stop.wait(_CANARY_PAUSE)
        return ReplayOutcome.SIGNAL

    def _canary_now(self) -> tuple[Progress, Publishing]:
        """Return the states of the canary's events, and whether a publisher is running."""
        with transaction(self._engine, _LIMITS, commit=False) as connection:
            now = store.progress(connection, self._run_id, self._max_retries, chunk=0)
            seen, known = publishers.seen(connection)
        return now, publishing(seen, known=known)

    def _check(self) -> ReplayOutcome | None:
        """Return TOO_MANY_ERRORS if the run has too many failures. Query the database at most once a second."""
        most = self._options.max_errors
        if most is None:
            return None
        failed = self._locked
        if failed < most and time.monotonic() - self._looked >= _LOOK_EVERY:
            failed += self._progress().dead
            self._looked = time.monotonic()
        return ReplayOutcome.TOO_MANY_ERRORS if failed >= most else None

    def _pace(self, began: float, events: int) -> None:
        """Wait until the next chunk is due, at the run's rate. ``began`` is when the last chunk began.

        A slow chunk does not make later waits shorter.
        """
        if self._options.rate:
            due = began + events / self._options.rate
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _progress(self) -> Progress:
        with transaction(self._engine, _LIMITS, commit=False) as connection:
            return store.progress(connection, self._run_id, self._max_retries)

    def _report(self, outcome: ReplayOutcome) -> ReplayReport:
        with transaction(self._engine, _LIMITS) as connection:
            report = read_report(
                connection,
                self._run_id,
                outcome,
                max_retries=self._max_retries,
                seconds=time.monotonic() - self._began,
                publishing=self._publishing,
                earlier=self._earlier,
            )
            counts = {
                "requeued": report.requeued, "skipped": report.skipped, "failed": report.failed,
                "remaining": report.remaining,
            }  # fmt: skip
            status = _STATUS[outcome]
            ended_by = outcome.value if status in {RunStatus.STOPPED, RunStatus.INTERRUPTED} else None
            runs.update(connection, self._run_id, status, counts, ended_by)
        return report
