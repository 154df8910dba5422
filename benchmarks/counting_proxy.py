"""Count round trips to PostgreSQL with a proxy, which works for every driver."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 1 << 16


@dataclass(slots=True)
class CountingProxy:
    """A proxy that counts round trips in ``turns``. ``said`` contains the bytes that clients have sent."""

    upstream: int
    port: int = 0
    turns: int = 0
    said: bytearray = field(default_factory=bytearray)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        """Forward every connection on its own thread until :meth:`stop` is called."""
        listener.settimeout(0.1)
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                client, _ = listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def statements(self, since: int) -> list[str]:
        """Return the simple queries that a connection sent after its first ``since`` bytes."""
        found, place = [], since
        while place < len(self.said):
            (length,) = struct.unpack_from("!i", self.said, place + 1)
            if self.said[place] == ord("Q"):
                found.append(self.said[place + 5 : place + length].decode())
            place += 1 + length
        return found

    def stop(self) -> None:
        """Stop accepting connections."""
        self._stopped.set()

    def _forward(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(("127.0.0.1", self.upstream)) as server,
            selectors.DefaultSelector() as ready,
        ):
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            answered = True
            while True:
                for key, _ in ready.select():
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    key.data.sendall(data)
                    if source is client:
                        self.turns += answered
                        self.said += data
                    answered = source is server


@contextmanager
def counting_proxy(upstream: int) -> Iterator[CountingProxy]:
    """Run a proxy on a free loopback port. The proxy forwards connections to the server on port ``upstream``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = CountingProxy(upstream, listener.getsockname()[1])
        thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stop()
            thread.join()
