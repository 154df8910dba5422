"""Read the report of a run from its record."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import Publishing
from ticketbottle_payctl.jobs.replay.report import ReplayOutcome, ReplayReport
from ticketbottle_payctl.store.outbox import replay as store
from ticketbottle_payctl.store.payctl import runs

_MOST_NAMED = 100


def read_report(  # noqa: PLR0913 - what the record does not contain
    connection: Connection,
    run_id: str,
    outcome: ReplayOutcome,
    *,
    max_retries: int,
    seconds: float = 0.0,
    publishing: Publishing | None = None,
    earlier: Mapping[tuple[str, str | None], int] | None = None,
) -> ReplayReport:
    """Return the report of a run.

    The caller passes how the run ended, how long it took, whether a publisher was running, and for a resumed run, the
    outcomes before it was resumed.
    """
    return ReplayReport(
        run_id=run_id,
        outcome=outcome,
        outcomes=store.outcomes(connection, run_id),
        remaining=store.remaining(connection, run_id)[1],
        progress=store.progress(connection, run_id, max_retries),
        seconds=seconds,
        left_alone=tuple(runs.items(connection, run_id, _MOST_NAMED, left=True)),
        publishing=publishing,
        earlier=earlier or {},
    )
