"""Report a run that is already done. Change nothing."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.jobs.replay.apply import COMMAND
from ticketbottle_payctl.jobs.replay.report import ReplayOutcome, ReplayReport
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import replay as store
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Run, RunStatus

_LIMITS = Limits(statement=timedelta(seconds=30))
_MOST_NAMED = 100


def report_finished(engine: Engine, run: Run, *, max_retries: int) -> ReplayReport | None:
    """Return the report of a replay that is done, or None if the run is not done or is not a replay.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    if run.command != COMMAND or run.status != RunStatus.DONE:
        return None
    with transaction(engine, _LIMITS, commit=False) as connection:
        return ReplayReport(
            run_id=run.id,
            outcome=ReplayOutcome.DONE,
            outcomes=store.outcomes(connection, run.id),
            remaining=0,
            progress=store.progress(connection, run.id, max_retries),
            seconds=0.0,
            left_alone=tuple(runs.items(connection, run.id, _MOST_NAMED, left=True)),
            publisher=None,
        )
