"""Kill this process at its n-th point, so that a test can kill a command after each of its steps.

A point is the moment just after a step. The steps are an answered statement or commit, a written or synced file, a
half-finished write, a gateway's response, and Kafka's acknowledgement. Only a forked command with ``KILL_AT`` in its
environment has these hooks. payctl itself has no such hooks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import httpx
import psycopg2.extensions
from psycopg2.extras import ReplicationCursor

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.store.db import driver

KILL_AT: Final = "KILL_AT"
"""The name of the variable that contains the point's number. The first point has the number 1."""

Function = Callable[..., Any]


class Fuse:
    """A countdown of points that kills the process when it reaches zero."""

    def __init__(self, points: int) -> None:
        self._left, self._lock = points, Lock()

    def point(self, almost: Callable[[], object] = lambda: None) -> None:
        """Count a point. At the chosen point, call ``almost`` and then kill the process."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                almost()
                os.kill(os.getpid(), signal.SIGKILL)

    def after(self, function: Function) -> Function:
        """Return a function that calls the given function and then counts a point."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            self.point()
            return result

        return wrapped

    def around(self, function: Function) -> Function:
        """Return a function that counts a point, calls the given function, and counts another point."""
        wrapped = self.after(function)

        def with_both(*arguments: Any, **named: Any) -> Any:
            self.point()
            return wrapped(*arguments, **named)

        return with_both

    def halved(self, write: Callable[[int, memoryview, int], int]) -> Callable[[int, memoryview, int], int]:
        """Return a write function with two points, one after half of the data is on disk and one after all of it."""
        whole = self.after(write)

        def wrapped(file: int, data: memoryview, at: int) -> int:
            self.point(almost=lambda: write(file, data[: len(data) // 2], at))
            return int(whole(file, data, at))

        return wrapped


def install(points: int) -> None:
    """Make this process kill itself at the point with this number."""
    fuse = Fuse(points)

    class Cursor(psycopg2.extensions.cursor):  # type: ignore[misc]  # the driver has no types
        """A database cursor with a point after each statement, including COMMIT."""

        execute = fuse.after(psycopg2.extensions.cursor.execute)

    class Connection(driver.Connection):
        """A payctl connection whose cursors have points."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.cursor_factory = Cursor

    driver.Connection = Connection  # type: ignore[misc]
    ReplicationCursor.execute = fuse.after(ReplicationCursor.execute)
    os.pwrite = fuse.halved(os.pwrite)  # type: ignore[assignment]
    os.fsync = fuse.after(os.fsync)
    httpx.Client.send = fuse.after(httpx.Client.send)  # type: ignore[method-assign]
    Producer.send = fuse.around(Producer.send)  # type: ignore[method-assign]
