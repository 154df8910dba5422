"""A proxy in front of PostgreSQL that records the client's messages and can break the connection."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

_HANDSHAKE_REQUESTS = {80_877_103, 80_877_104}  # the client's requests for TLS and for GSSAPI


class Wire:
    """A proxy in front of a server that records each query message.

    Each of libpq's simple queries is one round trip. Before a query that contains ``break_at`` reaches the server, the
    proxy cuts the connection. With ``after``, the proxy forwards the query first, so that only the answer is lost.
    """

    def __init__(self, port: int) -> None:
        self.queries: list[str] = []
        self.break_at: str | None = None
        self.after = False
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self):
        """Cut all connections and wait for the threads to end."""
        for one in self._sockets:
            _cut(one)
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                link = _Link(self, client, server)
                for work in (link.upward, link.downward):
                    thread = threading.Thread(target=work, daemon=True)
                    self._threads.append(thread)
                    thread.start()


class _Link:
    """One client's connection through the proxy."""

    def __init__(self, wire, client, server) -> None:
        self.wire, self.client, self.server = wire, client, server
        self.swallow = False

    def upward(self):
        """Forward messages from the client to the server."""
        with suppress(OSError, EOFError), self.client.makefile("rb") as stream:
            self._greet(stream)
            while True:
                kind, length = _exactly(stream, 1), _exactly(stream, 4)
                content = _exactly(stream, int.from_bytes(length) - 4)
                if kind == b"Q":
                    self._query(content[:-1].decode())
                self.server.sendall(kind + length + content)
        self._end()

    def _greet(self, stream):
        while True:
            length = _exactly(stream, 4)
            content = _exactly(stream, int.from_bytes(length) - 4)
            if int.from_bytes(content[:4]) not in _HANDSHAKE_REQUESTS:
                self.server.sendall(length + content)
                return
            self.client.sendall(b"N")

    def _query(self, text):
        self.wire.queries.append(text)
        if self.wire.break_at is not None and self.wire.break_at in text:
            self.wire.break_at = None
            if not self.wire.after:
                raise EOFError
            self.swallow = True

    def downward(self):
        """Forward bytes from the server to the client."""
        with suppress(OSError):
            while content := self.server.recv(65_536):
                if self.swallow:
                    break
                self.client.sendall(content)
        self._end()

    def _end(self):
        _cut(self.client)
        _cut(self.server)


def _exactly(stream, size):
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _cut(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
