"""Run the operators' commands replay, cleanup with an archive, and reconcile.

Each command runs repeatedly as a process.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.soak.stories import UNPAID
from tests.soak.writers import CORRECT
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.jobs.runs import list_runs
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import scenarios

COMMON = ["-y", "--reason", "soak", "--max-affected", "1000000", "-o", "json"]
EXPECTED = {0, 4, 5, 6, 9, 10}
"""The exit codes that a fault or a race can cause. Any other exit code is a finding."""

LONGEST = 120.0
"""The time, in seconds, after which a running command counts as stuck."""
OVERDUE_AFTER = 5
"""The time, in seconds, that a payment must be pending before payctl queries its gateway."""

_GUARD = 7
LEFT_OUT = {"superseded", "unknown_type"}
"""The reasons for which a replay leaves out an event that the soak has written."""

_TRIES_TO_KILL = 4
_REPORTING_FAILURES = [name for name in GATEWAYS if UNPAID.keys() & set(scenarios(name))]
"""The gateways that report failed or cancelled payments."""


class Operator(Thread):
    """A thread that runs commands one after another, with pauses, until ``stop`` is set.

    If a fault selects a command, the thread kills the command shortly after the command's first database session
    begins.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[Operator], list[str]],
        engine: Engine,
        environment: Mapping[str, str],
        home: Path,
        seed: int,
        pause: tuple[float, float],
    ) -> None:
        super().__init__(daemon=True, name=name)
        self.command, self.engine, self.environment, self.home, self.pause = command, engine, environment, home, pause
        self.chance = random.Random(f"{seed}/{name}")  # noqa: S311 - not for secrets
        self.stop = Event()
        self.doomed: deque[float] = deque()
        self.kills, self.commands = 0, 0
        self.exits: dict[str, int] = {}
        self.codes: Counter[int] = Counter()
        self.unexpected: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.log = home / f"{name}.log"
        self._application = ""

    def run(self) -> None:
        """Run commands until ``stop`` is set."""
        while not self.stop.wait(self.chance.uniform(*self.pause)):
            self.once(self.command(self))

    def once(self, arguments: list[str]) -> int:
        """Run one command until it ends or is killed. Return its exit code."""
        self.commands += 1
        self._application = f"payctl {' '.join(arguments[: 1 + (arguments[0] in {'runs', 'reconcile'})])}"
        output = self.home / f"{self.name}.out"
        with output.open("wb") as out, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ticketbottle_payctl", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                cwd=self.home,
                env=dict(self.environment),
                start_new_session=True,
            )
            killed = self._kill_in_the_middle() if self.doomed else False
            try:
                code = self.process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                self.unexpected.append(f"{' '.join(arguments)}: still running after {LONGEST:g} s")
                code = -9
            log.write(said := output.read_bytes())
        if not killed:
            self._note(arguments, code, said)
        return code

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to the running command. Return whether a command was running."""
        process = self.process
        if process is None or process.poll() is not None:
            return False
        process.send_signal(number)
        return True

    def close(self) -> None:
        """Stop the operator and kill the running command."""
        self.stop.set()
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        self.join(10)

    def _note(self, arguments: list[str], code: int, said: bytes) -> None:
        self.codes[code] += 1
        with suppress(ValueError):
            run = json.loads(said).get("run_id")
            if run:
                self.exits[run] = code
        if code not in EXPECTED and not (code == _GUARD and leaves_out_everything(said)):
            tail = self.log.read_text("utf-8", "replace")[-1200:]
            self.unexpected.append(f"{' '.join(arguments)}: exit {code}: {tail}")

    def _kill_in_the_middle(self) -> bool:
        """Kill the command shortly after its first database session begins.

        If the command ends before the kill, kill the operator's next command instead.
        """
        seconds = self.doomed.popleft()
        if self._first_session():
            time.sleep(seconds)
            if self.send(signal.SIGKILL):
                self.kills += 1
                return True
        if len(self.doomed) < _TRIES_TO_KILL:
            self.doomed.append(seconds / 2)
        return False

    def _first_session(self) -> bool:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %(name)s"
        while self.process is not None and self.process.poll() is None:
            with suppress(DBAPIError), self.engine.connect() as connection:
                if connection.exec_driver_sql(sql, {"name": self._application}).scalar_one():
                    return True
            time.sleep(0.01)
        return False


def replays(operator: Operator) -> list[str]:
    """Return the next command. The command resumes an interrupted replay, or replays dead or recently published events.

    Half of the replays of published events select one gateway's failed and cancelled events. The payments of these
    events can become paid at any time.
    """
    left = interrupted(operator.engine)
    if left:
        return resume(left[0])
    kind = operator.chance.randrange(3)
    if kind == 0:
        return dead_again(operator)
    window = ["--since", "20s", "--by", "published", "--limit", "150"]
    if kind == 1:
        unpaid = ["--type", "PAYMENT_FAILED", "--type", "PAYMENT_CANCELLED"]
        window += [*unpaid, "--provider", operator.chance.choice(_REPORTING_FAILURES)]
    return ["replay", "--published", "--allow-published", *window, "--rate", "150/s", *COMMON]


def resume(run_id: str) -> list[str]:
    """Return the command that resumes a replay."""
    return ["runs", "resume", run_id, "-y", "--reason", "soak", "-o", "json"]


def dead_again(operator: Operator) -> list[str]:
    """Give the events without a topic a known type, and return the command that replays all dead events."""
    with suppress(DBAPIError), operator.engine.begin() as connection:
        connection.exec_driver_sql(CORRECT)
    return ["replay", "--failed", "--rate", "100/s", *COMMON]


def interrupted(engine: Engine) -> list[str]:
    """Return the ids of the replays that can be resumed, oldest first."""
    with suppress(PayctlError):
        found = [run for run in list_runs(engine, 10_000).runs if run.command == "replay"]
        return [run.id for run in reversed(found) if run.status in {"interrupted", "stopped"}]
    return []


def cleanups(operator: Operator) -> list[str]:
    """Return a cleanup command that has a short retention and small batches and ends after 15 seconds."""
    return cleanup(operator, "--batch-size", "100", "--max-duration", "15s")


def cleanup(operator: Operator, *bounds: str) -> list[str]:
    """Return a cleanup command with a short retention and an archive."""
    archive = str(operator.home / "archive.ndjson.gz")
    return ["cleanup", "--older-than", "8s", *bounds, "--archive", archive, *COMMON]


def reconciles(_operator: Operator, limit: int = 200) -> list[str]:
    """Return a reconcile command for the ``limit`` newest payments that have been pending for too long."""
    bounds = ["--older-than", f"{OVERDUE_AFTER}s", "--rate", "80/s", "--timeout", "5s", "--limit", str(limit)]
    return ["reconcile", "payments", *bounds, *COMMON]


def leaves_out_everything(said: bytes) -> bool:
    """Return whether a replay changed nothing because all its events are superseded or of an unknown type."""
    try:
        document = json.loads(said)
        reasons = [each["reason"] for each in document["items"]]
        return bool(reasons) and document["counts"]["matched"] == len(reasons) and LEFT_OUT.issuperset(reasons)
    except (ValueError, KeyError):
        return False


COMMANDS = {"replay": replays, "cleanup": cleanups, "reconcile payments": reconciles}
