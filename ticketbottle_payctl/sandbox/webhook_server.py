"""The webhook on real HTTP, on this machine only: what stands behind it is the production path.

A request that cannot be a callback is refused as API Gateway and the webhook's function would: 404 for a path that is
no gateway's, 405 for another method than the gateway's, 413 for more than any gateway sends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

from ticketbottle_payctl import providers
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Reply, Request
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers.gateway import Gateway

Handle = Callable[[Request, Gateway], Reply]
"""Processes one callback and never raises. Called by several threads at once."""

Refused = Callable[[str, str, int], None]
"""Hears of a request that was no callback: method, path, status."""

_METHODS = {"vnpay": "GET"}
_SLOWEST = 10.0


@contextmanager
def webhook_server(handle: Handle, refused: Refused, *, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 while the block runs, and give the base URL. Leaving waits for the requests under way.

    Raises:
        UnavailableError: the port is taken or may not be used.
    """
    handler = type("_BoundHandler", (_Handler,), {"handle_callback": staticmethod(handle), "refused": refused})
    try:
        server = _Server(("127.0.0.1", port), handler)
    except OSError as error:
        message = f"127.0.0.1:{port} cannot be listened on: {error.strerror}"
        raise UnavailableError(message, hint="choose another with --port; 0 is any that is free") from error
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="webhook-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no matter of ours, and no traceback."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _SLOWEST
    server_version = "payctl"
    sys_version = ""
    handle_callback: ClassVar[Handle]
    refused: ClassVar[Refused]

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 - the library's names

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        gateway = providers.resolve(Request(self.command, path))
        if gateway is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        allowed = _METHODS.get(gateway.name, "POST")
        if self.command != allowed:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, {"allow": allowed})
            return
        body = self._body()
        if isinstance(body, HTTPStatus):
            self._refuse(body)
            return
        self._answer(type(self).handle_callback(Request(self.command, path, query, body), gateway))

    def _body(self) -> bytes | HTTPStatus:
        """The whole body, or why there is none to read."""
        if self.command == "GET":
            return b""
        announced = self.headers.get_all("Content-Length") or []
        if self.headers.get("Transfer-Encoding") or not announced:
            return HTTPStatus.LENGTH_REQUIRED
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

    def _refuse(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"message": status.phrase})
        type(self).refused(self.command, self.path.partition("?")[0], status.value)
        self._answer(Reply(status.value, body, {"content-type": "application/json", **(headers or {})}))

    def _answer(self, reply: Reply) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Silent: whoever serves says what came."""
