"""Test that ``payctl listen --forward-to`` forwards callbacks to a real HTTP server."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.cli.output.test_schemas import check
from ticketbottle_payctl import providers
from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.jobs.process_webhook import process_webhook
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, insert_payment
from ticketbottle_payctl.wiring import Services

KEYS = environment()
SECRETS = [value for name, value in KEYS.items() if "KEY" in name or "SECRET" in name]
TYPED = "hunter2"
PAYMENTS = {
    name: SandboxPayment("p", "TB-CONCERT-20261123-8D39986M", 250_000, name.upper(), f"ref-{name}")
    for name in providers.GATEWAYS
}


class Service:
    """A payment service for tests that records requests and sends the responses that the test chooses."""

    def __init__(self):
        self.requests = []
        self.answer = answering(200, b'{"ok":true}')
        self.url = ""


def answering(status, body=b"", headers=None):
    """Return a function that answers every request with this status, body and headers."""

    def answer(handler):
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hanging(handler):
    """Send the start of a response, and then send nothing for longer than payctl's timeout."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{")
    time.sleep(3)


def garbage(handler):
    """Send bytes that are not HTTP."""
    handler.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")


@contextmanager
def serving(service):
    """Serve on a free port of 127.0.0.1 during the ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.requests.append((self.command, self.path, self.headers, body))
            service.answer(self)

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, *_):
            """Suppress the server's own log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.handle_error = lambda *_: None
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service():
    """Run a payment service and yield it."""
    with serving(Service()) as running:
        yield running


@pytest.fixture
def closed_url():
    """Return the URL of a port on which no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def listening(started):
    """Return a function that starts `listen --forward-to` without a database.

    The function returns the process and the port.
    """

    def start(url, *arguments, form="ndjson"):
        process = started("listen", "--port", "0", "--forward-to", url, "-o", form, *arguments, **KEYS)
        said = b""
        for line in process.stderr:  # read up to the last start line, because communicate() misses buffered text
            said += line
            if b"stop with Ctrl-C" in line:
                process.said = said.decode()
                return process, int(re.search(r"listening http://127\.0\.0\.1:(\d+)/", process.said)[1])
        pytest.fail("payctl listen ended before it listened on a port")

    return start


def deliver(port, request, **headers):
    """Send a callback as the gateway does. Return the reply's status, headers and body."""
    query = f"?{request.query}" if request.query else ""
    connection = HTTPConnection("127.0.0.1", port, timeout=15)
    connection.request(request.method, request.path + query, request.body or None, headers)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()


def ended(process):
    """Stop the process. Return the items of the process's ndjson output, and all its output."""
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=20)
    return [json.loads(line) for line in stdout.splitlines()][:-1], (stdout + stderr).decode()


@pytest.mark.parametrize("name", PAYMENTS)
def test_a_genuine_callback_reaches_the_service_unchanged(listening, service, name):
    """`listen` forwards a genuine callback unchanged, and passes the service's reply to the gateway."""
    process, port = listening(service.url)
    request = callback(PAYMENTS[name])
    service.answer = answering(202, b"\xff taken", {"Content-Type": "text/x-own"})
    reply = deliver(
        port,
        request,
        **{"User-Agent": "Gateway/7", "X-Request-Id": "tình yêu".encode().decode("latin-1"), "Accept-Encoding": "br"},
    )
    assert (reply[0], reply[1]["content-type"], reply[2]) == (202, "text/x-own", b"\xff taken")
    ((method, path, headers, body),) = service.requests
    assert (method, path.partition("?")[::2], body) == (
        request.method,
        (f"/webhook/{name}", request.query),
        request.body,
    )
    assert headers.get_all("User-Agent") == ["Gateway/7"]
    assert headers["X-Request-Id"].encode("latin-1").decode() == "tình yêu"
    assert headers["Accept-Encoding"] == "identity"
    ((item,), text) = ended(process)
    assert (item["outcome"], item["provider"], item["reply_status"]) == ("forwarded", name, 202)
    assert item["forwarded_to"] == f"{service.url}/webhook/{name}"
    assert item["took_ms"] >= 0
    assert not [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("name", PAYMENTS)
def test_a_forged_callback_does_not_reach_the_service(listening, service, name):
    """`listen` refuses a forged callback without forwarding it, and prints the reason."""
    process, port = listening(service.url)
    reply = deliver(port, callback(PAYMENTS[name], Scenario.BAD_SIGNATURE))
    refusal = providers.by_name(name).reply(Answer.BAD_SIGNATURE)
    assert (reply[0], reply[2].decode()) == (refusal.status, refusal.body)
    assert service.requests == []
    ((item,), _) = ended(process)
    assert (item["outcome"], item["reason"], item["forwarded_to"]) == ("refused", "signature", None)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (answering(500, b'{"error":"x"}'), 500),
        (answering(404), 404),
        (answering(204), 204),
        (answering(302, headers={"Location": "/elsewhere"}), 302),
    ],
    ids=["500", "404", "204", "redirect"],
)
def test_the_gateway_gets_the_service_s_status(listening, service, answer, status):
    """`listen` passes every complete response from the service to the gateway, and does not follow redirects."""
    process, port = listening(service.url)
    service.answer = answer
    assert deliver(port, callback(PAYMENTS["momo"]))[0] == status
    assert len(service.requests) == 1
    ((item,), _) = ended(process)
    assert (item["outcome"], item["reply_status"]) == ("forwarded", status)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (hanging, "no complete response within 1 s"),
        (garbage, "did not send a complete HTTP response"),
        (answering(200, b"x" * 70_000), "larger than 64 KiB"),
        (None, "Connection refused"),
    ],
    ids=["slow", "garbage", "huge", "unavailable"],
)
def test_the_gateway_is_asked_to_send_again_if_no_complete_reply_arrives(
    listening, service, closed_url, answer, reason
):
    """If the service is unavailable, slow or broken, `listen` asks the gateway to call again and prints why."""
    url = service.url if answer else closed_url
    process, port = listening(url, "--timeout", "1s" if answer is hanging else "10s")
    service.answer = answer
    reply = deliver(port, callback(PAYMENTS["zalopay"]))
    again = providers.by_name("zalopay").reply(Answer.TRY_AGAIN)
    assert (reply[0], reply[2].decode()) == (again.status, again.body)
    ((item,), _) = ended(process)
    assert (item["outcome"], item["forwarded_to"]) == ("failed", f"{url}/webhook/zalopay")
    assert reason in item["reason"]


def test_the_lines_on_a_terminal_say_what_the_service_answered(listening, service):
    """On a terminal, each `listen` line shows the outcome, order, status and time. stderr names the service's URL."""
    process, port = listening(service.url, form="table")
    service.answer = answering(500)
    deliver(port, callback(PAYMENTS["vnpay"]))
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=20)
    assert re.search(rb"GET /webhook/vnpay.*forwarded.*ref-vnpay.*500.* \d[\d.]* m?s", stdout)
    assert f"forwarding to {service.url}" in process.said
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--forward-to", "https://203.0.113.7/hook"], "--allow-remote"),
        (["--forward-to", "http://203.0.113.7/hook", "--allow-remote"], "https"),
        (["--forward-to", "http://127.0.0.1:1/hook?a=b"], "must not have a query"),
        (["--forward-to", f"http://user:{TYPED}@127.0.0.1:1"], "user and password"),
        (["--forward-to", "127.0.0.1:3000"], "begins with http:// or https://, not 127.0.0.1:3000\n"),
        (["--forward-to", "ftp://x"], "--forward-to must be a URL that begins with http:// or https://, not ftp://x\n"),
        (["--forward-to", "ftp://x"], "\ntry: give a URL such as --forward-to http://127.0.0.1:3000\n"),
        (["--forward-to", f"ftp://user:{TYPED}@x"], "must be a URL that begins with http:// or https://\n"),
        (["--replay", "ab12"], "--forward-to"),
        (["--timeout", "5s"], "--forward-to"),
        (["--allow-remote"], "--forward-to"),
    ],
    ids=" ".join,
)
def test_listen_refuses_a_wrong_destination(process, arguments, words):
    """`listen` exits with 2 for an invalid destination.

    The error says what to change but does not show the password.
    """
    ended = process("listen", "--port", "0", *arguments, **KEYS)
    assert (ended.returncode, TYPED in ended.stdout + ended.stderr) == (2, False)
    assert words in ended.stderr


def test_listen_does_not_forward_to_itself(process):
    """`listen` exits with 2 if --forward-to points to its own port, because the request would loop forever."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ended = process("listen", "--port", port, "--forward-to", f"http://localhost:{port}", **KEYS)
    assert ended.returncode == 2
    assert "pass each callback on to itself" in ended.stderr


@pytest.fixture
def receipt(engine):
    """Settle a VNPay payment with a callback. Return the callback and its receipt's id."""
    with engine.begin() as connection:
        payment = insert_payment(connection, provider="VNPAY")
    request = callback(payment)
    gateway = providers.by_name("vnpay")
    report = process_webhook(engine, request, gateway, Services(KEYS).credentials(gateway))
    return request, report.receipt_id


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("answer", "code", "outcome"),
    [(answering(200), 0, "forwarded"), (answering(500), 5, "forwarded"), (None, 4, "failed")],
    ids=["accepted", "500", "unavailable"],
)
def test_replay_sends_a_stored_callback_again(answer_of_replay, service, closed_url, receipt, answer, code, outcome):
    """`listen --replay` sends the stored query to the service, and exits with 0 only if the service accepts it."""
    request, receipt_id = receipt
    service.answer = answer
    document = answer_of_replay(service.url if answer else closed_url, receipt_id)
    check(document)
    assert (document["exit_code"], [item["outcome"] for item in document["items"]]) == (code, [outcome])
    assert [path for _, path, _, _ in service.requests] == [f"/webhook/vnpay?{request.query}"] * bool(answer)


@pytest.mark.postgres
def test_replay_finds_a_receipt_by_the_first_characters_of_its_id(answer_of_replay, service, receipt):
    """`listen --replay` accepts the first eight characters of an id, and exits with 8 for an unknown id."""
    assert answer_of_replay(service.url, receipt[1][:8])["exit_code"] == 0
    assert answer_of_replay(service.url, "00000000-0000-4000-8000-000000000000")["exit_code"] == 8


@pytest.mark.postgres
def test_replay_verifies_the_stored_callback_again(answer_of_replay, service, receipt):
    """If a stored callback does not match the configured keys, `listen --replay` sends nothing and exits with 5."""
    document = answer_of_replay(service.url, receipt[1], VNPAY_HASH_SECRET="another")
    assert (document["exit_code"], document["items"][0]["reason"], service.requests) == (5, "signature", [])


@pytest.fixture
def answer_of_replay(process, database_url):
    """Return a function that sends a receipt's callback to a URL and returns the JSON document."""

    def run(url, receipt_id, **changes):
        arguments = ["listen", "--forward-to", url, "--replay", receipt_id, "-o", "json"]
        ended = process(*arguments, **{**KEYS, "DATABASE_URL": database_url, **changes})
        document = json.loads(ended.stdout)
        assert ended.returncode == document["exit_code"], ended.stderr
        return document

    return run
