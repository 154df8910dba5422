"""Run commands with the settings of a demo, on a terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COLUMNS, ROWS = 80, 24
PATIENCE = 60
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Ran(NamedTuple):
    """A command, its coloured output on an 80-column terminal, and its exit code."""

    command: str
    output: str
    exit_code: int

    @property
    def text(self) -> str:
        """Return the output as plain text without colours."""
        return ANSI.sub("", self.output)


@contextmanager
def demo(path: str = "") -> Iterator[Callable[[str], Ran]]:
    """Run a demo during the block, and yield a function that runs a command with the demo's settings."""
    with tempfile.TemporaryDirectory() as home:
        environ = {
            "HOME": home,
            "PATH": path or f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }
        environ |= {name: value for name, value in os.environ.items() if name.startswith("PAYCTL_TEST_")}
        ours, theirs = terminal()
        process = subprocess.Popen(["payctl", "demo", "--keep"], env=environ, stdout=theirs, stderr=subprocess.DEVNULL)
        os.close(theirs)
        try:
            output = _read(ours, until="The messages appear here")
            found = re.search(r"source (\S+)", ANSI.sub("", output))
            assert found, output

            def run(command: str) -> Ran:
                if command == "payctl demo --keep":
                    return Ran(command, output, 0)
                return in_terminal(f"source {shlex.quote(found[1])}; {command}", environ, command)

            yield run
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            os.close(ours)


def in_terminal(line: str, environ: Mapping[str, str], command: str) -> Ran:
    """Run a shell command line in bash, with an 80-column terminal as stdout."""
    ours, theirs = terminal()
    process = subprocess.Popen(
        ["bash", "-c", line],
        env=environ,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    output = _read(ours)
    os.close(ours)
    _, talk = process.communicate(timeout=PATIENCE)
    return Ran(command, output or talk.decode(), process.returncode)


def terminal() -> tuple[int, int]:
    """Open an 80-column pseudo-terminal, and return its two ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return ours, theirs


def _read(file: int, until: str = "") -> str:
    """Read from a terminal until its other end is closed or the output contains ``until``. Return the output."""
    content = b""
    with suppress(OSError):  # Linux raises this error when the other end is closed
        while (chunk := os.read(file, 65_536)) and not (until and until.encode() in content + chunk):
            content += chunk
        content += chunk
    return content.decode().replace("\r\n", "\n")
