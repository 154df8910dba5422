"""Run real jobs in threads, one step at a time, in an order that the test chooses.

A step ends just before a job sends a statement, commits, sends messages or waits. The job then waits for its next turn.
Two publishers, writers and an operator run payctl's own code on a real database in this way, and the test decides which
of them continues. If a step waits for a database lock, it counts as done after ``BLOCKED_AFTER``, and the other jobs
continue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition, Thread, get_ident
from typing import Any

from sqlalchemy import Engine, event

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import PayctlError

BLOCKED_AFTER = 0.03
"""The time in seconds after which a step counts as blocked. A wrong guess only changes the order of the steps."""

PATIENCE = 30.0


class Killed(BaseException):
    """An exception that ends the thread of a killed actor, so that no more of its code runs."""


class Stage:
    """The object that makes all actors wait for their turns. If ``free`` is set, actors run without waiting."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.waiting: dict[tuple[str, int], str] = {}
        self.granted: set[tuple[str, int]] = set()
        self.free = False
        self.said: list[str] = []

    def turns(self) -> list[tuple[str, int]]:
        """Return the threads that are waiting for their turn, in a stable order."""
        with self.changed:
            return sorted(self.waiting)

    def step(self, turn: tuple[str, int]) -> None:
        """Run one thread until it reaches its next point, ends, or waits for a lock."""
        with self.changed:
            self.said.append(f"{turn[0]}: {self.waiting.pop(turn)}")
            self.granted.add(turn)
            self.changed.notify_all()
            self.changed.wait_for(lambda: turn in self.waiting, BLOCKED_AFTER)

    def settle(self) -> None:
        """Wait until every thread has reached a point or is waiting for a lock."""
        with self.changed:
            while self.changed.wait(BLOCKED_AFTER / 3):
                pass

    def release(self) -> None:
        """Run all threads at once. From now on, no thread waits for its turn."""
        with self.changed:
            self.free = True
            self.changed.notify_all()

    def point(self, actor: Actor, what: str) -> None:
        """Make the calling thread of this actor wait until the test gives it a turn."""
        turn = (actor.name, actor.number_of(get_ident()))
        with self.changed:
            if actor.killed:
                raise Killed
            if self.free:
                return
            self.waiting[turn] = what
            self.changed.notify_all()
            self.changed.wait_for(lambda: turn in self.granted or self.free or actor.killed)
            self.granted.discard(turn)
            self.waiting.pop(turn, None)
        if actor.killed:
            raise Killed


class Actor:
    """A job that runs in its own threads with its own engine, and can be killed like a process."""

    def __init__(self, stage: Stage, name: str, engine: Engine, job: Callable[[Actor], None]) -> None:
        self.stage, self.name, self.engine = stage, name, engine
        self.killed = False
        self.failure: PayctlError | None = None
        self.error: BaseException | None = None
        self._threads: dict[int, int] = {}
        self._job = job
        event.listen(engine, "before_cursor_execute", self._statement)
        event.listen(engine, "commit", self._commit)
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while the job is running."""
        return self._thread.is_alive()

    def number_of(self, thread: int) -> int:
        """Return the number of a thread of this job, counted from 0."""
        return self._threads.setdefault(thread, len(self._threads))

    def point(self, what: str) -> None:
        """Wait for a turn."""
        self.stage.point(self, what)

    def kill(self) -> None:
        """End the job wherever it is, as SIGKILL would. The server then rolls back the job's transactions."""
        with self.stage.changed:
            self.killed = True
            self.stage.changed.notify_all()
        self.join()

    def join(self) -> None:
        """Wait until the job has ended.

        Raises:
            AssertionError: the job did not end, or it failed in an unexpected way.
        """
        self._thread.join(PATIENCE)
        assert not self.running, f"{self.name} still runs; so far: {self.stage.said}"
        self.engine.dispose()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._job(self)
        except Killed:
            pass
        except PayctlError as error:
            self.failure = error
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error
        with self.stage.changed:
            self.stage.changed.notify_all()

    def _statement(self, _connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        self.point(" ".join(statement.split())[:60])

    def _commit(self, _connection: Any) -> None:
        self.point("commit")


class SteppedProducer(Producer):
    """A producer that waits for a turn before each send and after each acknowledgement."""

    actor: Actor | None = None

    def send(self, wave: Any, *arguments: Any) -> Any:
        """Wait for a turn, send the wave, and wait for another turn."""
        assert self.actor is not None
        actor = self.actor
        actor.point(f"send {len(wave)}")
        failures = super().send(wave, *arguments)
        actor.point("acknowledged")
        return failures


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until another process has made the condition true.

    Raises:
        AssertionError: the condition did not become true in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
