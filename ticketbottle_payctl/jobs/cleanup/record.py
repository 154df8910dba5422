"""Record a cleanup in ``payctl.runs``. The entry is written after the first batch and completed at the end.

The scheduled cleanup's database role might not have the privilege to write the entry. Therefore a failed write is
only logged, and the cleanup continues.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from sqlalchemy import Engine

from ticketbottle_payctl.jobs.cleanup.delete_batches import Swept
from ticketbottle_payctl.store.db.engine import Limits
from ticketbottle_payctl.store.payctl.run_lifecycle import OptionalRun, Unrecorded, optional_run
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus


@dataclass(slots=True)
class Record:
    """The record of one run."""

    engine: Engine
    run: NewRun | None
    _opened: OptionalRun | None = None
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def id(self) -> str | None:
        """The id of the recorded run, or None if the entry does not exist or is not complete."""
        return self._opened.id if self._opened else None

    @property
    def unrecorded(self) -> Unrecorded | None:
        """What could not be recorded, or None."""
        return self._opened.unrecorded if self._opened else None

    def begin(self) -> None:
        """Record that the run has begun. Only the first call writes the entry. A failed write is not retried."""
        run, self.run = self.run, None
        if run is not None:
            self._opened = self._held.enter_context(optional_run(self.engine, run, Limits()))

    def close(self, status: RunStatus, swept: Swept) -> None:
        """Record how the run ended and how many rows were deleted."""
        with self._held:
            if self._opened is not None:
                counts = {"deleted": swept.deleted, "archived": swept.archived, "receipts": swept.receipts}
                self._opened.end(status, counts)
