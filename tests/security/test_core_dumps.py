"""Test that a crash of the interpreter does not write a core file, which would contain keys and passwords."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="asks /proc for a process's limits")


def most_of_a_core_file(pid):
    """Return a process's soft limit on the core file size."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4] for line in lines if line.startswith("Max core file size"))


@pytest.fixture
def waiting(tmp_path):
    """Yield a payctl process that waits for a callback on stdin.

    The process inherits a limit that allows core files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    command = [sys.executable, "-m", "ticketbottle_payctl", "verify-signature", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        yield process
        process.kill()


def test_a_crash_writes_no_core_file(waiting, tmp_path):
    """A payctl command lowers its core file limit to zero before it reads a key or a callback."""
    wait_until(lambda: most_of_a_core_file(waiting.pid) == "0", what="core files are forbidden", timeout=30)
    os.kill(waiting.pid, signal.SIGABRT)
    _, status = os.waitpid(waiting.pid, 0)
    waiting.returncode = -os.WTERMSIG(status)
    assert (os.WTERMSIG(status), os.WCOREDUMP(status)) == (signal.SIGABRT, False)
    assert list(tmp_path.iterdir()) == []
