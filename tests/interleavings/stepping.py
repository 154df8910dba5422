"""Run real jobs in threads, one step at a time, in the order that a test chooses.

A step ends before a job sends a statement, commits, sends messages or waits. The job then waits for its next turn. So
two publishers, writers and an operator run the program's own code on a real database, and the test decides who
continues. A step that waits for a database lock counts as done after ``BLOCKED_AFTER``, and the other jobs continue.
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
"""The time in seconds after which a step counts as blocked. A wrong guess changes only the order of the steps."""

PATIENCE = 30.0


class Killed(BaseException):
    """An error that ends a killed actor's thread, so that none of its code runs any more."""


class Stage:
    """The turns of all actors. If ``free`` is set, every actor runs without waiting for turns."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.waiting: dict[tuple[str, int], str] = {}
        self.granted: set[tuple[str, int]] = set()
        self.free = False
        self.said: list[str] = []

    def turns(self) -> list[tuple[str, int]]:
        """Return the threads that wait for their turn, in a stable order."""
        with self.changed:
            return sorted(self.waiting)

    def step(self, turn: tuple[str, int]) -> None:
        """Let one thread run until its next point, its end or a lock."""
        with self.changed:
            self.said.append(f"{turn[0]}: {self.waiting.pop(turn)}")
            self.granted.add(turn)
            self.changed.notify_all()
            self.changed.wait_for(lambda: turn in self.waiting, BLOCKED_AFTER)

    def settle(self) -> None:
        """Wait until every thread has reached a point or a lock."""
        with self.changed:
            while self.changed.wait(BLOCKED_AFTER / 3):
                pass

    def release(self) -> None:
        """Let every thread run without waiting for turns."""
        with self.changed:
            self.free = True
            self.changed.notify_all()

    def point(self, actor: Actor, what: str) -> None:
        """Wait until the test gives the calling thread of this actor a turn."""
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
    """A job that runs in its own threads with its own engine. It can be killed like a process."""

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
        """Whether the job is still running."""
        return self._thread.is_alive()

    def number_of(self, thread: int) -> int:
        """Return the number of a thread of this job, counted from 0."""
        return self._threads.setdefault(thread, len(self._threads))

    def point(self, what: str) -> None:
        """Wait for a turn."""
        self.stage.point(self, what)

    def kill(self) -> None:
        """End the job at its current point, as SIGKILL does. The server then rolls the job's transactions back."""
        with self.stage.changed:
            self.killed = True
            self.stage.changed.notify_all()
        self.join()

    def join(self) -> None:
        """Wait for the job's end.

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
    """A producer with a point before each send, and a point after its acknowledgement."""

    actor: Actor | None = None

    def send(self, wave: Any, *arguments: Any) -> Any:
        """Wait for a turn, send, and wait for a turn again."""
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
