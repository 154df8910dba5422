"""Serve the webhook over HTTP on this machine only. The callbacks are processed by the same code as in production.

A request that cannot be a callback gets the same status as in production, where API Gateway or the webhook's function
responds. The status is 404 for a path without a gateway, 405 for a wrong method, and 413 for a body that is too large.
Chunked bodies are accepted.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread, Timer
from typing import ClassVar

from ticketbottle_payctl import providers
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Reply, Request
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers.gateway import Gateway

Handle = Callable[[Request, Gateway, Mapping[str, str]], Reply]
"""The type of a function that processes a callback with its headers.

The function must not raise, and must be thread-safe.
"""

Refused = Callable[[str, str, int], None]
"""The type of a function that receives the method, path and status of each request that is not a callback."""

_SLOWEST = 10.0
"""The maximum time in seconds that a client is allowed to take to send its request."""

GRACE = 5.0
"""The maximum time in seconds that the server waits for requests in flight when it stops."""

_AFTER_CUT = 1.0
_LONGEST_LINE = 1024
_MOST_TRAILERS = 32
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")


@contextmanager
def webhook_server(handle: Handle, refused: Refused, *, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 while the block runs, and yield the base URL.

    At the end of the block, wait at most :data:`GRACE` seconds for requests in flight.

    Raises:
        UnavailableError: the port is in use, or this process is not allowed to use the port.
    """
    handler = type("_BoundHandler", (_Handler,), {"handle_callback": staticmethod(handle), "refused": refused})
    try:
        server = _Server(("127.0.0.1", port), handler)
    except OSError as error:
        message = f"payctl cannot listen on 127.0.0.1:{port}: {error.strerror}"
        raise UnavailableError(message, hint="choose another port with --port; 0 chooses a free one") from error
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="webhook-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.end_requests(GRACE)
        server.server_close()


class _Server(ThreadingHTTPServer):
    """A server that tracks requests in flight, and ends requests that take longer than the grace period."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()
        self._idle = Condition()

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Serve one request. The request is in flight until this method returns."""
        if not isinstance(request, socket.socket):  # only a datagram server passes something else
            return
        with self._idle:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._idle:
                self._open.discard(request)
                self._idle.notify_all()

    def end_requests(self, grace: float) -> None:
        """Wait at most ``grace`` seconds for requests in flight. Then close the remaining connections."""
        with self._idle:
            self._idle.wait_for(lambda: not self._open, grace)
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._idle.wait_for(lambda: not self._open, _AFTER_CUT)

    def handle_error(self, request: object, client_address: object) -> None:
        """Do not print a traceback for a client that disconnected."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _SLOWEST
    server_version = "payctl"
    sys_version = ""
    handle_callback: ClassVar[Handle]
    refused: ClassVar[Refused]

    def setup(self) -> None:
        """Start the timer for the whole request.

        A client that sends one byte at a time cannot extend the time limit.
        """
        super().setup()
        self._deadline = Timer(_SLOWEST, self._end_reading)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        """Finish the request and cancel its timer."""
        self._deadline.cancel()
        super().finish()

    def _end_reading(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 - the library's names

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        gateway = providers.resolve(Request(self.command, path))
        if gateway is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        if self.command != gateway.method:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, {"allow": gateway.method})
            return
        body = self._body()
        if isinstance(body, HTTPStatus):
            self._refuse(body)
            return
        headers = {name: ", ".join(self.headers.get_all(name, ())) for name in self.headers}
        self._answer(type(self).handle_callback(Request(self.command, path, query, body), gateway, headers))

    def _body(self) -> bytes | HTTPStatus:
        """Return the whole body. If the body cannot be read, return the HTTP status that tells the client why."""
        if self.command == "GET":
            return b""
        announced = self.headers.get_all("Content-Length") or []
        coding = self.headers.get("Transfer-Encoding")
        if coding is not None:
            # A request with both headers is refused, because it can be smuggled past a proxy (RFC 9112, 6.3).
            plain = coding.strip().lower() == "chunked" and not announced
            return self._chunked() if plain else HTTPStatus.BAD_REQUEST
        return self._sized(announced) if announced else HTTPStatus.LENGTH_REQUIRED

    def _sized(self, announced: list[str]) -> bytes | HTTPStatus:
        """Return the body of a request with a Content-Length. If the body cannot be read, return the HTTP status."""
        text = announced[0].strip()
        if len(announced) > 1 or not (text.isascii() and text.isdigit()):
            return HTTPStatus.BAD_REQUEST
        if len(text) > len(str(MAX_BODY_BYTES)) or int(text) > MAX_BODY_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        try:
            body = self.rfile.read(int(text))
        except TimeoutError:
            return HTTPStatus.REQUEST_TIMEOUT
        return body if len(body) == int(text) else HTTPStatus.BAD_REQUEST

    def _chunked(self) -> bytes | HTTPStatus:
        """Return the body of a chunked request (RFC 9112, 7.1). If the body cannot be read, return the HTTP status.

        Trailers are discarded.
        """
        body = b""
        try:
            while size := self._chunk_size():
                if len(body) + size > MAX_BODY_BYTES:
                    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                chunk = self.rfile.read(size)
                if len(chunk) != size or self.rfile.read(2) != b"\r\n":
                    return HTTPStatus.BAD_REQUEST
                body += chunk
            for _ in range(_MOST_TRAILERS):
                if self.rfile.readline(_LONGEST_LINE) in {b"\r\n", b"\n", b""}:
                    return body
        except TimeoutError:
            return HTTPStatus.REQUEST_TIMEOUT
        except ValueError:
            pass
        return HTTPStatus.BAD_REQUEST

    def _chunk_size(self) -> int:
        """Read and return a chunk's size from the line before the chunk. The last chunk has size 0.

        Raises:
            ValueError: the line is not a size of at most eight hexadecimal digits.
        """
        digits = self.rfile.readline(_LONGEST_LINE).partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(digits):
            message = "not a chunk's size"
            raise ValueError(message)
        return int(digits, 16)

    def _refuse(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"message": status.phrase})
        type(self).refused(self.command, self.path.partition("?")[0], status.value)
        self._answer(Reply(status.value, body, {"content-type": "application/json", **(headers or {})}))

    def _answer(self, reply: Reply) -> None:
        body = reply.body.encode("utf-8", "surrogateescape")
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Print nothing, because the code that uses this server reports the requests."""
