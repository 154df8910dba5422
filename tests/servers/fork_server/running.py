"""Receive requests from the clients of the fork server, and watch the commands that run for them."""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket
from contextlib import suppress
from typing import NamedTuple

LENGTH = 4
STREAMS = 3


class Request(NamedTuple):
    """The streams, arguments, environment and directory of a command. ``streams`` maps numbers to descriptors."""

    streams: dict[int, int]
    arguments: list[str]
    environment: dict[str, str]
    directory: str


def received(client: socket.socket) -> Request | None:
    """Return a client's request, or None if the client was killed before it had sent the whole request."""
    size, given, _, _ = socket.recv_fds(client, LENGTH, STREAMS)
    missing = int.from_bytes(size, "big")
    content = b""
    while len(content) < missing and (part := client.recv(1 << 20)):
        content += part
    if not content or len(content) < missing:
        for descriptor in given:
            os.close(descriptor)
        return None
    numbers, arguments, environment, directory = marshal.loads(content)  # noqa: S302 - the client is ours
    decoded = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    return Request(dict(zip(numbers, given, strict=True)), arguments, decoded, directory)


class RunningCommands:
    """The forked commands that have not ended, each with the connection to its client."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._processes: dict[int, int] = {}
        self._clients: dict[int, socket.socket] = {}
        self._poll = select.poll()
        for descriptor in (0, listener.fileno()):
            self._poll.register(descriptor, select.POLLIN)

    def wait(self) -> socket.socket:
        """Return the next client. Until then, report each command that ends, and kill each command without a client.

        If stdin is closed, end this process.
        """
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if 0 in ready:
                os._exit(0)
            for ended in ready & self._processes.keys():
                self._report(ended)
            for ended, client in list(self._clients.items()):
                if client.fileno() in ready:
                    self._leave(ended)
                    os.kill(self._processes[ended], signal.SIGKILL)
            if self._listener.fileno() in ready:
                return self._listener.accept()[0]

    def add(self, process: int, client: socket.socket) -> None:
        """Watch a new process and its client, and tell the client the process's id."""
        ended = os.pidfd_open(process)
        self._processes[ended], self._clients[ended] = process, client
        for descriptor in (ended, client.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        _answer(client, process)

    def close(self) -> None:
        """Close all connections in a process that was forked. The server's own process keeps them."""
        self._listener.close()
        for client in self._clients.values():
            client.close()

    def _report(self, ended: int) -> None:
        _, status = os.waitpid(self._processes.pop(ended), 0)
        self._poll.unregister(ended)
        os.close(ended)
        if ended in self._clients:
            _answer(self._clients[ended], status)
            self._leave(ended)

    def _leave(self, ended: int) -> None:
        client = self._clients.pop(ended)
        self._poll.unregister(client.fileno())
        client.close()


def _answer(client: socket.socket, number: int) -> None:
    with suppress(OSError):  # the client was killed
        client.sendall(number.to_bytes(LENGTH, "big"))
