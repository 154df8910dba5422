"""Run a process that has payctl's modules loaded and forks for each command.

Such a start takes a tenth of the usual time.

A forked command has its own process, streams, environment, directory and signals, and it exits as a new interpreter
does. A test that depends on an interpreter's start, for example with closed streams or encodings, needs a new
interpreter.
"""

from __future__ import annotations

import os
import py_compile
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

CLIENT: Final = Path(__file__).with_name("client.py")


class ForkServer:
    """A fork server. Use it as a context manager.

    Its ``command`` runs payctl as ``python -m ticketbottle_payctl`` does.

    The server ends together with the process that started it.
    """

    def __init__(self, directory: Path) -> None:
        address = directory / "fork-server"
        client = py_compile.compile(str(CLIENT), cfile=str(directory / "client.pyc"), doraise=True)
        self.command = [sys.executable, "-I", "-S", str(client), str(address)]
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._address))
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.servers.fork_server", str(listener.fileno())],
                env={**os.environ, "PYTHONWARNINGS": "error"},
                cwd=Path(__file__).parents[3],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def executable(self, directory: Path) -> Path:
        """Write a ``payctl`` script into a directory for a shell's PATH, and return the directory."""
        words = " ".join(f"'{word}'" for word in self.command)
        script = directory / "payctl"
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', "utf-8")
        script.chmod(0o755)
        return directory
