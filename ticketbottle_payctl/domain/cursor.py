"""Where a publisher stands in a shard, and which payments must wait.

Rules it keeps: a payment's later events wait while an earlier one waits for its turn or its retry, is dead (unless
dead ones are released), or is of a type that cannot flow. Other payments never wait. Pure: instants are given, none
is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.domain.ordering import LATE_COMMITS

Position = tuple[datetime, str]
START: Position = (datetime(1970, 1, 1), "")  # noqa: DTZ001 - the owner's columns have no zone, they are UTC by contract

_MOST_HELD_KEYS = 1000


class Cursor:
    """One publisher's memory of one shard. Wrong memory costs a look, never an event: the database decides."""

    def __init__(self) -> None:
        self.position: Position = START
        self.until: datetime | None = None
        self._last: Position | None = None
        self._blocks: dict[str, set[Position]] = {}
        self._due: dict[tuple[str, Position], float] = {}
        self._held: dict[str, None] = {}

    @property
    def held(self) -> list[str]:
        """Keys seen waiting; not worth claiming until their block is gone."""
        return list(self._held)

    def waits_for(self, keys: Iterable[str]) -> bool:
        """Whether one of these payments may have to wait; quick, however many others do."""
        return not self._blocks.keys().isdisjoint(keys)

    def restart(self, now: datetime | None = None) -> None:
        """Forget everything and begin at the oldest event. ``now`` is the database's instant, where it is known."""
        self.__init__()  # type: ignore[misc]
        if now is not None:
            self._last = (now, "")

    def advance(self, last: Position) -> None:
        """The next claim begins after ``last``."""
        self.position = last
        if self._last is None or last > self._last:
            self._last = last

    def look_back(self, *, caught_up: bool) -> None:
        """Look at the last moments again: an event that commits late must not be overtaken by one written later.

        ``caught_up`` means that nothing was left to claim, so that the last moments are those before the newest
        event seen; otherwise they are those before the event claimed last.
        """
        newest = self._last if caught_up and self._last is not None else self.position
        if newest != START:
            self.position = (newest[0] - LATE_COMMITS, "")

    def block(self, key: str, position: Position, due: float | None) -> None:
        """Let ``key`` wait behind the event at ``position``: until ``due`` (monotonic seconds), or for good."""
        self._blocks.setdefault(key, set()).add(position)
        if due is None:
            self._due.pop((key, position), None)
        else:
            self._due[key, position] = due

    def hold(self, key: str) -> None:
        """Do not claim ``key`` again for now. Only so many keys are kept out; the others are claimed and put back."""
        if len(self._held) < _MOST_HELD_KEYS:
            self._held[key] = None

    def must_wait(self, event: OutboxEvent) -> bool:
        """True for an event behind a block of its key, and for the blocking event itself while it is not due."""
        blocks = self._blocks.get(event.aggregate_id)
        if blocks is None:
            return False
        key, here = event.aggregate_id, event.position
        # Dead or stopped when it was blocked and pending now: somebody wants it sent. So only one with a due waits.
        waits = any(position < here for position in blocks) or (key, here) in self._due
        if waits:
            self.hold(key)
        return waits

    def release_due(self, now: float) -> None:
        """Lift the blocks whose time has come, and step back before the earliest of them."""
        due = [place for place, at in self._due.items() if at <= now]
        for key, position in due:
            del self._due[key, position]
            self._blocks[key].discard(position)
            if not self._blocks[key]:
                del self._blocks[key]
            self._held.pop(key, None)
            if position <= self.position:
                self.position = (position[0], "")

    def next_due(self) -> float | None:
        """When the next block is lifted (monotonic seconds); None where none waits for a time."""
        return min(self._due.values(), default=None)
