"""A proxy between a client and a server on loopback.

The proxy can delay or throttle data, or drop the server's answers.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread

PIECE = 512


class Proxy:
    """A proxy that listens on ``port`` on 127.0.0.1 and forwards to ``target``.

    A test can change the proxy's attributes while the proxy runs. ``delay`` is in seconds and applies to each
    direction. ``rate`` is in bytes per second and applies to each direction of each connection. If ``answers`` is
    false, the proxy drops the server's bytes and still forwards the client's. ``connections`` counts the connections.

    ``rewrite`` is for Kafka. It gets each request of a client, without the length in front, and returns the request to
    forward, which must have the same length.
    """

    def __init__(self, port, target, *, delay=0.0, rate=None, answers=True, rewrite=None):
        self.port, self.target, self._rewrite = port, target, rewrite
        self.delay, self.rate, self.answers = delay, rate, answers
        self.connections = 0
        self._closed = Event()
        self._sockets: list[socket.socket] = []

    @property
    def bootstrap(self):
        """The proxy's address, for KAFKA_BROKERS."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._closed.set()
        for one in (self._listener, *self._sockets):
            _end(one)
        self._thread.join(5)

    def cut(self):
        """Reset every open connection. The proxy still accepts new connections."""
        cut, self._sockets = self._sockets, []
        for one in cut:
            _end(one)

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.connections += 1
            self._sockets += [client, server]
            self._lead(client, server, answer=False)
            self._lead(server, client, answer=True)

    def _lead(self, source, target, *, answer):
        under_way = SimpleQueue()
        read = source.recv if answer or self._rewrite is None else _Requests(source, self._rewrite).next
        Thread(target=self._take, args=(read, under_way), daemon=True).start()
        Thread(target=self._give, args=(source, target, under_way, answer), daemon=True).start()

    def _take(self, read, under_way):
        with suppress(OSError):
            while data := read(65536):
                under_way.put((time.monotonic() + self.delay, data))
        under_way.put((0, b""))

    def _give(self, source, target, under_way, answer):
        with suppress(OSError):
            while (item := under_way.get())[1]:
                due, data = item
                self._closed.wait(max(0.0, due - time.monotonic()))
                if answer and not self.answers:
                    continue
                rate = self.rate  # another thread may change it while the pieces are sent
                for begin in range(0, len(data), PIECE) if rate else ():
                    target.sendall(data[begin : begin + PIECE])
                    self._closed.wait(PIECE / rate)
                if not rate:
                    target.sendall(data)
        _end(source)
        _end(target)


class _Requests:
    """The requests that a Kafka client sends on one connection, after ``rewrite``."""

    def __init__(self, source, rewrite):
        self._stream, self._rewrite = source.makefile("rb"), rewrite

    def next(self, _size):
        """Return the next request with its length in front, or nothing if the client has closed the connection."""
        length = self._stream.read(4)
        return length and length + self._rewrite(self._stream.read(int.from_bytes(length)))


def _end(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
