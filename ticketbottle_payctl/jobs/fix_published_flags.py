"""Mark as published what the replaced service sent and marked by ``"publishedAt"`` alone. Nothing is sent again."""

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
    """How many were half marked before, and how many were repaired; the rest was locked by others, or we were stopped.

    ``oldest`` and ``newest`` are when they were made, ``sent_until`` when the last of them was sent (UTC); ``run_id``
    the recorded run, None where there was none.
    """

    matched: int
    repaired: int
    oldest: datetime | None
    newest: datetime | None
    sent_until: datetime | None
    run_id: str | None = None


def preview_published_flags(engine: Engine) -> FlagsReport:
    """How many there are. Changes nothing.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: the role may not read the outbox.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = half_marked.count(connection)
    return FlagsReport(found.events, 0, found.oldest, found.newest, found.sent_until)


def fix_published_flags(  # noqa: PLR0913 - the honest list of what it needs
    engine: Engine,
    planned: FlagsReport,
    run: NewRun,
    *,
    batch_size: int = 1000,
    stopping: Callable[[], bool] = lambda: False,
    done: Callable[[int], None] = lambda _: None,
) -> FlagsReport:
    """Repair what was ``planned``, oldest first, one short transaction per ``batch_size``; what was sent since stays.

    Stopped, it goes on when run again. The run and each row it changes are recorded; where there is nothing to repair,
    nothing is.
    ``done`` hears after each batch how many are repaired so far.

    Raises:
        DatabaseUnavailableError: the server cannot be reached; what was committed stays repaired.
        ConfigError: the role may not update the outbox.
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
