"""Mark half-marked events as published.

The service that payctl replaced has sent these events, so they are not sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import half_marked
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus

_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class FlagsReport:
    """The number of half-marked events before the run, and the number of repaired events.

    An event was not repaired if its row was locked or the run was stopped. ``oldest`` and ``newest`` are the times when
    the oldest and the newest event were created. ``sent_until`` is the time when the last event was sent. All times are
    UTC. ``run_id`` is the id of the recorded run, or None.
    """

    matched: int
    repaired: int
    oldest: datetime | None
    newest: datetime | None
    sent_until: datetime | None
    run_id: str | None = None


def preview_published_flags(engine: Engine) -> FlagsReport:
    """Count the half-marked events, without changing them.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: the role is not allowed to read the outbox.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = half_marked.count(connection)
    return FlagsReport(found.events, 0, found.oldest, found.newest, found.sent_until)


def fix_published_flags(  # noqa: PLR0913 - one argument per option
    engine: Engine,
    planned: FlagsReport,
    run: NewRun,
    *,
    batch_size: int = 1000,
    stopping: Callable[[], bool] = lambda: False,
    done: Callable[[int], None] = lambda _: None,
) -> FlagsReport:
    """Repair the ``planned`` events, oldest first, in short transactions of ``batch_size`` events.

    Events that were sent after the preview stay unchanged. If the run is stopped, the next run repairs the rest. The
    run and each changed row are recorded, unless no event needs repair. ``done`` is called after each batch with the
    number of events repaired so far.

    Raises:
        DatabaseUnavailableError: the server cannot be reached. Committed repairs stay.
        ConfigError: the role is not allowed to update the outbox.
    """
    if planned.sent_until is None:
        return planned
    until, repaired, number = planned.sent_until, 0, 0
    after: tuple[datetime, str] | None = None
    status = RunStatus.INCOMPLETE
    with open_run(engine, run, _LIMITS) as opened:
        opened.counts |= {"matched": planned.matched, "repaired": 0}
        while not stopping():
            with transaction(engine, _LIMITS) as connection:
                events, after = half_marked.repair(connection, run.id, number, batch_size, until, after)
            repaired, number = repaired + events, number + 1
            opened.counts["repaired"] = repaired
            done(repaired)
            if events < batch_size:
                status = RunStatus.DONE
                break
        opened.end(status)
    return replace(planned, repaired=repaired, run_id=run.id)
