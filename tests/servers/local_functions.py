"""Run the Lambda functions on this machine (``make local``), with AWS's own runtime and without Docker.

The webhook function listens on an HTTP address. With ``--event FILE``, ``make local`` invokes one function once, as
Lambda would. With ``--sam FILE``, ``make local`` only writes the settings for `sam local`, which runs the functions in
Docker.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.lambda_entrypoints.events import http_event
from tests.servers.lambda_runtime import ARCHITECTURE, Function
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import ConfigError, PayctlError
from ticketbottle_payctl.http_address import is_loopback
from ticketbottle_payctl.providers import GATEWAYS

_FUNCTIONS = ("webhook", "publish_outbox", "cleanup", "watch_payments", "reconcile_payments")
_LARGEST = 1_048_576
_GATEWAYS = tuple(field.env for gateway in GATEWAYS.values() for field in gateway.fields)
_DOCKER_HOST = "host.docker.internal"
_PASSED_ON = (*_GATEWAYS, "DATABASE_URL", "KAFKA_", "PAYCTL_", "OUTBOX_", "PG", "LOG_LEVEL")


def main(words: Sequence[str] | None = None) -> int:
    """Run the function that the arguments name.

    Return exit code 3 if a setting is missing or points to another machine.
    """
    arguments = _parser().parse_args(words)
    try:
        if arguments.sam:
            return _write_for_sam(Path(arguments.sam))
        if arguments.event:
            return _once(arguments.function.replace("-", "_"), json.loads(Path(arguments.event).read_text("utf-8")))
        return _serve(arguments.port)
    except PayctlError as error:
        sys.stderr.write(f"{error.message}\n{error.hint or ''}\n")
        return 3
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def settings() -> dict[str, str]:
    """Return the functions' environment.

    Raises:
        ConfigError: No database is configured, or the database is on another machine.
    """
    found = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    try:
        host = urlsplit(found.get("DATABASE_URL", "")).hostname
    except ValueError:
        host = None
    if host is None or not is_loopback(host):
        wrong = "does not point to this machine" if found.get("DATABASE_URL") else "is not set"
        message = f"DATABASE_URL {wrong}"
        raise ConfigError(message, hint="run `payctl demo --keep` in another terminal and paste its `source` line here")
    return {"ENVIRONMENT": "dev", "PAYCTL_LOOP_SECONDS": "0", **found}


def for_sam(found: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the content of a file for ``sam local --env-vars``.

    A Docker Desktop container reaches this machine's servers under a special host name, so the addresses use that name.
    The settings turn off TLS, which the template requires but these servers do not support.
    """
    values = {"PGSSLMODE": "prefer", "PGSSLROOTCERT": "", "KAFKA_SSL": "false", "KAFKA_SASL_MECHANISM": "", **found}
    url = urlsplit(found["DATABASE_URL"])
    user, at, place = url.netloc.rpartition("@")
    values["DATABASE_URL"] = urlunsplit(url._replace(netloc=f"{user}{at}{_in_docker(place)}"))
    values["KAFKA_BROKERS"] = ",".join(map(_in_docker, found.get("KAFKA_BROKERS", "").split(",")))
    return {"Parameters": values}


def _in_docker(place: str) -> str:
    host, colon, port = place.rpartition(":")
    return f"{_DOCKER_HOST}{colon}{port}" if is_loopback(host.strip("[]")) else place


def _write_for_sam(file: Path) -> int:
    """Write the file so that only its owner can read it. Print the command that uses the file."""
    text = json.dumps(for_sam(settings()), indent=1) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text, "utf-8")
    machine = "" if ARCHITECTURE == "arm64" else f" --parameter-overrides Architecture={ARCHITECTURE}"
    command = f"sam local start-api --template deploy/template.yaml --env-vars {shlex.quote(str(file))}{machine}"
    sys.stdout.write(f"{command}\n")
    return 0


def _once(name: str, event: object) -> int:
    """Invoke a function once with an event. Print the function's reply to stdout and its log to stderr."""
    function = Function(name, settings())
    try:
        answer = function.invoke(event)
        sys.stderr.write(function.text())
    finally:
        function.close()
    sys.stdout.write(json.dumps(answer.payload, indent=2, ensure_ascii=False) + "\n")
    return 1 if isinstance(answer.payload, dict) and "errorType" in answer.payload else 0


def _serve(port: int) -> int:
    """Answer HTTP requests with the webhook function, one at a time, until Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    function = Function("webhook", settings())
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(function))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(
            f"http://127.0.0.1:{server.server_port}/webhook/{{{','.join(GATEWAYS)}}}\nrunning until Ctrl-C\n"
        )
        sys.stdout.flush()
        stopped.wait()
        server.shutdown()
        server.server_close()
    finally:
        function.close()
    return 0


def _handler(function: Function) -> type[BaseHTTPRequestHandler]:
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        """A replacement for API Gateway.

        This handler turns an HTTP request into an event and the function's reply into an HTTP response.
        """

        timeout = 10

        def do_GET(self) -> None:
            """Forward VNPay's callback, which is a query."""
            self._pass_on(b"")

        def do_POST(self) -> None:
            """Forward a callback with a body. The request must state the body's length."""
            length = int(self.headers.get("content-length", 0))
            if length > _LARGEST:
                self.send_error(413)
                return
            self._pass_on(self.rfile.read(length))

        def _pass_on(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, parts.path, parts.query, body)
            with one_at_a_time:
                answer: Any = function.invoke(http_event(request, encoded=True, headers=headers)).payload
            answered = isinstance(answer, dict) and "statusCode" in answer
            reply: dict[str, Any] = answer if answered else {"statusCode": 502}
            text = str(reply.get("body", ""))
            content = base64.b64decode(text) if reply.get("isBase64Encoded") else text.encode()
            self.send_response(int(reply["statusCode"]))
            for name, value in (reply.get("headers") or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make local", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8081, help="port for the webhook's function [8081]; 0 takes a free one"
    )
    parser.add_argument("--event", metavar="FILE", help="invoke a function once with this event")
    parser.add_argument("--sam", metavar="FILE", help="write the settings for `sam local`, and print its command")
    parser.add_argument(
        "--function",
        choices=[name.replace("_", "-") for name in _FUNCTIONS],
        default="webhook",
        help="function to invoke with --event [webhook]",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
