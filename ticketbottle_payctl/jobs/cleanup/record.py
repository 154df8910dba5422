"""A clean-up's entry in ``payctl.runs``: begun with its first batch, closed at its end.

Best effort: the role of the scheduled clean-up has no right to it, and no clean-up fails for want of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.jobs.cleanup.sweep import Swept
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.run_lock import at_work
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus
from ticketbottle_payctl.telemetry import log_event

_LIMITS = Limits()


@dataclass(slots=True)
class Record:
    """One run's entry. ``id`` is None where nothing was deleted yet, or it could not be written."""

    engine: Engine
    run: NewRun | None
    id: str | None = None
    _at_work: ExitStack = field(default_factory=ExitStack)

    def begin(self) -> None:
        """Write that it began; only the first call does, and a failed one is not tried again."""
        run, self.run = self.run, None
        if run is not None and self._written(lambda connection: runs.start(connection, run)):
            self.id = run.id
            self._at_work.enter_context(at_work(self.engine, run.id))

    def close(self, status: RunStatus, swept: Swept) -> None:
        """Write how it ended, and how many rows went."""
        run_id = self.id
        counts = {"deleted": swept.deleted, "archived": swept.archived, "receipts": swept.receipts}
        with self._at_work:
            if run_id is None:
                return
            self._written(lambda connection: runs.update(connection, run_id, status, counts))

    def _written(self, write: Callable[[Connection], None]) -> bool:
        try:
            with transaction(self.engine, _LIMITS) as connection:
                write(connection)
        except PayctlError as error:
            log_event("cleanup_not_recorded", code=error.code, error=error)
            return False
        return True
