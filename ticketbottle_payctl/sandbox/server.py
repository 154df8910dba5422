"""Run a server as a child process in a temporary directory. Afterwards, stop the server and remove the directory.

A small shell process, started with the server, reads from a pipe that the current process holds open. When the current
process ends, even if SIGKILL ended it, the kernel closes the pipe. The shell then stops the server and removes the
directory. Unlike a parent-death signal, this method does not need code between fork and exec, and works from any thread
and on every POSIX system.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

from ticketbottle_payctl.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

_GUARD: Final = """
trap '' HUP INT TERM
read -r _
pid=$(cat "$2/pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -s "$1" "$pid" 2>/dev/null
    n=0
    while kill -0 "$pid" 2>/dev/null && [ "$n" -lt 20 ]; do sleep 0.05; n=$((n + 1)); done
    kill -9 "$pid" 2>/dev/null
fi
rm -rf -- "$2"
"""


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account. A server runs under this account if the current process is root."""

    name: str
    uid: int
    gid: int


class AccountArguments(TypedDict):
    """The arguments for ``subprocess.Popen`` that select an account."""

    user: int | None
    group: int | None
    extra_groups: list[str | int] | None


class Server:
    """A server process that runs in the directory ``home``. At most one process runs at a time.

    The process's output is appended to ``log``. When payctl's process ends, the server receives ``last_signal``. If the
    server is still running a second later, it is killed.
    """

    def __init__(
        self,
        name: str,
        *,
        account: Account | None = None,
        within: Path | None = None,
        last_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self.home = _temporary_directory(f"payctl-{name}-", within, account)
        self.log = self.home / "server.log"
        self._guard = subprocess.Popen(  # noqa: S603 - a constant script; the values are its arguments
            ["/bin/sh", "-c", _GUARD, "guard", last_signal.name.removeprefix("SIG"), str(self.home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Return whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Return the process id, or None if the process is not running."""
        return self._process.pid if self._process is not None and self.running else None

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start the process in its own session. Then Ctrl-C reaches only payctl, which stops its servers in order."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours, no shell reads it
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env=environment,
                start_new_session=True,
                **as_account(self._account),
            )
        (self.home / "pid").write_text(str(self._process.pid))

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout: float) -> None:
        """Wait until ``ready`` returns true.

        Raises:
            UnavailableError: the process ended or was not ready in time. If the process ended, the message contains
                the last lines of its log.
        """

        def ready_or_dead() -> bool:
            return not self.running or ready()

        wait_until(ready_or_dead, what=what, timeout=timeout)
        if not self.running:
            message = f"the server exited before it was ready ({what}); the end of its log:\n{self._last_lines()}"
            raise UnavailableError(message)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process. If no process is running, do nothing."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, number: signal.Signals, *, timeout: float = 30.0) -> None:
        """Send the signal and wait until the process ends. Kill the process after ``timeout`` seconds.

        Keep the directory.
        """
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        (self.home / "pid").unlink(missing_ok=True)
        self._process = None

    def close(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Stop the process and remove the directory. A second call does nothing."""
        self.stop(number)
        shutil.rmtree(self.home, ignore_errors=True)
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def _last_lines(self, count: int = 12) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


def as_account(account: Account | None) -> AccountArguments:
    """Return the arguments that make ``subprocess`` run a command as ``account``. None means the current account."""
    if account is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(ready: Callable[[], T | None], *, what: str, timeout: float, pause: float = 0.005) -> T:
    """Call ``ready`` repeatedly until its result is truthy. Return this result.

    Raises:
        UnavailableError: ``ready`` did not succeed within ``timeout`` seconds. The message contains ``what``.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        answer = ready()
        if answer:
            return answer
        time.sleep(pause)
    message = f"not reached within {timeout:g} s: {what}"
    raise UnavailableError(message)


def open_to_all(directory: Path) -> bool:
    """Return whether every account can enter ``directory``, through both the given path and the resolved path."""
    places = {directory, *directory.absolute().parents, *directory.resolve().parents}
    return all(place.stat().st_mode & 0o001 for place in places)


def in_memory(*, least: int = 2 << 30) -> Path | None:
    """Return a directory in memory with at least ``least`` free bytes, or None.

    On Linux, this directory is /dev/shm.
    """
    shared = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private directory in it
    if shared.is_dir() and shutil.disk_usage(shared).free >= least:
        return shared
    return None


def _temporary_directory(prefix: str, within: Path | None, account: Account | None) -> Path:
    """Create a directory that only the server's account can use.

    Its path is short, because the path of a socket can have at most 107 bytes.
    """
    usual = within or Path(tempfile.gettempdir())
    base = usual if account is None or open_to_all(usual) else Path("/tmp")  # noqa: S108 - mkdtemp makes it private
    home = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    if account is not None:
        os.chown(home, account.uid, account.gid)
    return home
