"""Run several publisher loops in turns, on one simulated clock and a real database."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Event

from tests.jobs.publish_outbox.conftest import Outbox, new_producer
from ticketbottle_payctl.jobs.publish_outbox import Observer, Obstacles, PublishReport

_PATIENCE = 60
START = 1000.0


class Turn(Event):
    """The clock and the stop event of one loop. ``said`` contains the causes that the loop has reported, in order."""

    def __init__(self, turns: Turns, number: int) -> None:
        super().__init__()
        self.turns, self.number, self.waits = turns, number, 0
        self.said: list[list[str]] = []
        self.sent_at: list[float] = []
        self._published = 0

    def __call__(self) -> float:
        """Return the current time."""
        return self.turns.now

    def wait(self, timeout=None) -> bool:
        """Run the other loops until ``timeout`` seconds have passed. Return whether the stop event is set."""
        assert timeout is not None
        self.waits += 1
        self.turns.pass_on(self.number, self.turns.now + timeout)
        return self.is_set()

    def is_set(self) -> bool:
        """Return whether the simulated time is over."""
        return self.turns.seconds >= self.turns.most

    def observer(self) -> Observer:
        """Return an observer that records the loop's causes, and the seconds at which it has published events."""
        return Observer(on_obstacles=self._on_obstacles, on_progress=self._on_progress)

    def _on_obstacles(self, obstacles: Obstacles) -> None:
        causes = [*(f"locked {each.shard}" for each in obstacles.locked), *obstacles.stopped]
        self.said.append(causes + [each.reason.value for each in obstacles.blockers])

    def _on_progress(self, counts) -> None:
        if counts.published > self._published:
            self._published = counts.published
            self.sent_at.append(self.turns.seconds)


class Turns:
    """A simulated clock for several loops, which run one at a time.

    The loop whose wait ends first runs next. ``at`` maps a time in seconds to an action. The action runs before the
    first turn that begins at this time or later. The loops in ``frozen`` do not get a turn after the given time.
    """

    def __init__(
        self, loops: int, seconds: float, at: dict[float, Callable[[], object]], frozen: dict[int, float] | None = None
    ) -> None:
        self.now, self.most, self.frozen = START, seconds, frozen or {}
        self.loops = [Turn(self, number) for number in range(loops)]
        self._at = sorted(at.items(), key=lambda item: item[0])
        self._changed = Condition()
        self._wakes = {number: START + number / 4 for number in range(loops)}
        self._running = 0

    @property
    def seconds(self) -> float:
        """The time since the start, in seconds."""
        return self.now - START

    def pass_on(self, number: int, wake: float | None) -> None:
        """End a loop's turn, and wait until its next turn. If ``wake`` is None, the loop has ended."""
        with self._changed:
            if wake is None:
                del self._wakes[number]
            else:
                late = number in self.frozen and wake - START > self.frozen[number]
                self._wakes[number] = max(wake, START + self.most) if late else wake
            self._begin_next()
        if wake is not None:
            self.wait_for_turn(number)

    def wait_for_turn(self, number: int) -> None:
        """Wait until the loop with this number is allowed to run."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._running == number, _PATIENCE)

    def _begin_next(self) -> None:
        if not self._wakes:
            return
        self._running = min(self._wakes, key=lambda number: self._wakes[number])
        self.now = max(self.now, self._wakes[self._running])
        while self._at and self._at[0][0] <= self.seconds:
            self._at.pop(0)[1]()
        self._changed.notify_all()


def run_in_turns(outbox: Outbox, turns: Turns, *, seed: int = 0, **options) -> list[PublishReport]:
    """Run one publisher loop for each turn, each with its own producer, and return their reports.

    The ``seed`` fixes the loops' random pauses, so the loops have the same turns in each run.
    """
    producers = [new_producer(outbox.bootstrap) for _ in turns.loops]

    def run(turn: Turn) -> PublishReport:
        turns.wait_for_turn(turn.number)
        try:
            producer = producers[turn.number]
            return outbox.run(turn, producer=producer, observer=turn.observer(), loop=True, **options)
        finally:
            turns.pass_on(turn.number, None)

    state = random.getstate()
    random.seed(seed)
    try:
        with ThreadPoolExecutor(len(producers)) as pool:
            reports = list(pool.map(run, turns.loops))
    finally:
        random.setstate(state)
    for producer in producers:
        producer.close()
    return reports
