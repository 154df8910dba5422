"""Where a publisher stands in a shard, and which payments must wait.

Rules it keeps: a payment's later events wait while an earlier one waits for its retry, is dead (unless dead ones
are released), or is of a type that cannot flow. Other payments never wait. Pure: instants are given, none is read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from ticketbottle_payctl.domain.event import OutboxEvent

Position = tuple[datetime, str]
START: Position = (datetime(1970, 1, 1), "")  # noqa: DTZ001 - the owner's columns have no zone, they are UTC by contract
LATE_COMMITS = timedelta(seconds=2)
"""How far behind its last event a publisher looks again, for transactions that commit later than they wrote."""

_MOST_HELD_KEYS = 1000


class Block(NamedTuple):
    """A payment that waits behind the event at ``position``; until ``due`` (monotonic seconds), or for good."""

    position: Position
    due: float | None


class Cursor:
    """One publisher's memory of one shard. Wrong memory costs a look, never an event: the database decides."""

    def __init__(self) -> None:
        self.position: Position = START
        self.until: datetime | None = None
        self._last: Position | None = None
        self._blocks: dict[str, Block] = {}
        self._held: dict[str, None] = {}

    @property
    def held(self) -> list[str]:
        """Keys seen waiting; not worth claiming until their block is gone."""
        return list(self._held)

    def restart(self) -> None:
        """Forget everything and begin at the oldest event."""
        self.__init__()  # type: ignore[misc]

    def advance(self, last: Position) -> None:
        """The next claim begins after ``last``."""
        self.position = self._last = last

    def look_back(self) -> None:
        """Caught up: look at the last moments again, where a late commit may appear."""
        if self._last is not None:
            self.position = (self._last[0] - LATE_COMMITS, "")

    def block(self, key: str, position: Position, due: float | None) -> None:
        """Let ``key`` wait behind the event at ``position``; the earliest block of a key counts."""
        known = self._blocks.get(key)
        if known is None or position <= known.position:
            self._blocks[key] = Block(position, due)

    def must_wait(self, event: OutboxEvent) -> bool:
        """True for an event behind its key's block, and for the blocking event itself while it is not due."""
        if not self._blocks:
            return False
        block = self._blocks.get(event.aggregate_id)
        if block is None or event.position < block.position:
            return False
        if event.position == block.position and block.due is None:
            return False  # it was dead or stopped; that it is pending again means somebody wants it sent
        if len(self._held) < _MOST_HELD_KEYS:
            self._held[event.aggregate_id] = None
        return True

    def release_due(self, now: float) -> bool:
        """Let keys go whose time has come, and step back before the earliest of them. True where there was one."""
        due = [key for key, block in self._blocks.items() if block.due is not None and block.due <= now]
        if not due:
            return False
        earliest = min(self._blocks[key].position for key in due)
        for key in due:
            del self._blocks[key]
            self._held.pop(key, None)
        if earliest <= self.position:
            self.position = (earliest[0], "")
        return True

    def next_due(self) -> float | None:
        """When the next key may go on (monotonic seconds); None where none waits for a time."""
        return min((block.due for block in self._blocks.values() if block.due is not None), default=None)
