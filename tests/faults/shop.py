"""A shop's database, and payctl processes that use this database and can be killed at each point."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from tests.servers.fork_server.fuse import KILL_AT
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.sandbox.server import wait_until

LAST_POINT = 200
"""The number of points after which a command counts as an endless loop, so that the test fails."""

OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'payctl _%%'
"""


class Command(NamedTuple):
    """A payctl command, and the exit codes that are valid when no fault is injected."""

    arguments: tuple[str, ...]
    stdin: bytes = b""
    ends: tuple[int, ...] = (0,)


@dataclass
class Shop:
    """A database with the checker's audit tables, and payctl commands that use this database."""

    engine: Engine
    command: list[str]
    environment: Mapping[str, str] = field(repr=False)

    def run(self, command: Command, **changes: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command as a process, wait for it to finish, and return the completed process."""
        return subprocess.run(
            [*self.command, *command.arguments],
            input=command.stdin,
            env={**os.environ, **self.environment, **changes},
            capture_output=True,
            timeout=50,
            check=False,
        )

    def good(self, command: Command) -> str:
        """Run a command in this process, which is faster. Check its exit code and return its output."""
        done = CliRunner().invoke(
            app, command.arguments, input=command.stdin, env=dict(self.environment), prog_name="payctl"
        )
        assert done.exit_code in command.ends, (done.output, done.exception)
        return done.stdout

    def points(self, begin: Callable[[int], Command]) -> Iterator[tuple[int, Command]]:
        """Kill a command at its first point, then at its second, and so on.

        After each kill, yield the point's number and the command. ``begin`` prepares the database and returns the
        command. The last run finishes before it reaches the point at which it would be killed.
        """
        for number in range(1, LAST_POINT):
            command = begin(number)
            done = self.run(command, **{KILL_AT: str(number)})
            self.wait_until_alone()
            killed = done.returncode == -signal.SIGKILL
            assert killed or done.returncode in command.ends, done.stdout + done.stderr
            yield number, command
            if not killed:
                return
        pytest.fail("the command reached too many points")

    def wait_until_alone(self) -> None:
        """Wait until the server has ended the sessions of a killed process."""
        wait_until(lambda: not self.query(OTHERS)[0], what="the killed command's sessions are gone", timeout=20)

    def query(self, sql: str, **values: object) -> list[Any]:
        """Run a statement and commit. Return the first value of each row."""
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(sql, values)
            return list(result.scalars()) if result.returns_rows else []
