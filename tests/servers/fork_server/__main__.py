"""Run the process that forks. The argument is the descriptor of the listening socket.

The process ends when its stdin is closed.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import os
import socket
import sys
import time
from importlib import import_module
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import TextIO

from tests.servers.fork_server.fuse import KILL_AT, install
from tests.servers.fork_server.running import STREAMS, Request, RunningCommands, received
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.main import main

LOADED_LATE = (
    *("sqlalchemy.dialects.postgresql.psycopg2", "confluent_kafka.admin", "tenacity", "httpx", "payos"),
    *("rich.console", "rich.live", "rich.table"),
)
"""The modules that commands load on demand."""


def load() -> None:
    """Load the modules that a command can need."""
    for entry in registry.COMMANDS:
        entry.load()
    for name in LOADED_LATE:
        import_module(name)
    gc.collect()
    gc.freeze()  # a command then neither collects nor copies the objects that were loaded before it


def next_command(listener: socket.socket) -> Request:
    """Fork for each request. Return only in a forked command's process. The server's own process never returns."""
    running = RunningCommands(listener)
    while True:
        client = running.wait()
        request = received(client)
        if request is None:
            client.close()
            continue
        process = os.fork()
        if process == 0:
            running.close()
            client.close()
            return request
        for descriptor in request.streams.values():
            os.close(descriptor)
        running.add(process, client)


def become(request: Request) -> None:
    """Set up this process for a command, so that the process behaves like a new interpreter."""
    streams, environment = request.streams, request.environment
    moved = {number: fcntl.fcntl(descriptor, fcntl.F_DUPFD, STREAMS) for number, descriptor in streams.items()}
    for number in range(STREAMS):
        if number in moved:
            os.dup2(moved[number], number)
        else:
            os.close(number)
    os.closerange(STREAMS, 1024)
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, opened(number, getattr(sys, name)) if number in streams else None)
    sys.argv = ["payctl", *request.arguments]
    if KILL_AT in environment:
        install(int(environment[KILL_AT]))


def opened(number: int, like: TextIO) -> TextIO:
    """Return a standard stream as an interpreter opens it, with the encoding that this interpreter chose at startup."""
    raw = FileIO(number, "r" if like is sys.stdin else "w", closefd=False)
    buffered = BufferedReader(raw) if like is sys.stdin else BufferedWriter(raw)
    by_line = like is sys.stderr or raw.isatty()
    return TextIOWrapper(buffered, like.encoding, like.errors, newline="\n", line_buffering=by_line)


def run() -> None:
    """Run payctl. At the end, skip unloading the modules, which would take as long as everything else."""
    status: list[int] = []

    def leave() -> None:
        if status:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status[0])

    atexit.register(leave)  # this runs after all other exit functions and after the threads have ended
    try:
        main()
    except SystemExit as error:
        if isinstance(error.code, int):
            status.append(error.code)
        raise


if __name__ == "__main__":
    load()
    become(next_command(socket.socket(fileno=int(sys.argv[1]))))
    run()
