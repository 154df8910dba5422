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
    """

    def __init__(self, port, target, *, delay=0.0, rate=None, answers=True):
        self.port, self.target = port, target
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
        Thread(target=self._take, args=(source, under_way), daemon=True).start()
        Thread(target=self._give, args=(source, target, under_way, answer), daemon=True).start()

    def _take(self, source, under_way):
        with suppress(OSError):
            while data := source.recv(65536):
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


def _end(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
