"""Report a run that is already done, without changing anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.jobs.replay.apply import COMMAND
from ticketbottle_payctl.jobs.replay.read_report import read_report
from ticketbottle_payctl.jobs.replay.report import ReplayOutcome, ReplayReport
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl.runs import Run, RunStatus

_LIMITS = Limits(statement=timedelta(seconds=30))


def report_finished(engine: Engine, run: Run, *, max_retries: int) -> ReplayReport | None:
    """Return the report of a replay that is done, or None if the run is not done or is not a replay.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    if run.command != COMMAND or run.status != RunStatus.DONE:
        return None
    with transaction(engine, _LIMITS, commit=False) as connection:
        report = read_report(connection, run.id, ReplayOutcome.DONE, max_retries=max_retries)
    return replace(report, earlier=report.outcomes)
