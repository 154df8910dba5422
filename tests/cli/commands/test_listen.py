"""Test a ``payctl listen`` process with callbacks over real HTTP."""

from __future__ import annotations

import json
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from tests.cli.output.test_schemas import check
from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.sandbox.webhook_server import webhook_server

pytestmark = pytest.mark.postgres

KEYS = environment()
LONG_QUERY = "/webhook/vnpay?" + "x" * 70_000


@pytest.fixture
def listening(started, database_url):
    """Return a function that starts `payctl listen` on a free port, and returns the process and the port."""

    def start(form="ndjson"):
        process = started("listen", "--port", "0", "-o", form, DATABASE_URL=database_url, **KEYS)
        for line in process.stderr:
            if found := re.search(rb"http://127\.0\.0\.1:(\d+)/", line):
                return process, int(found[1])
        pytest.fail("payctl listen ended before it listened on a port")

    return start


@pytest.fixture
def pending(engine):
    """Insert a MoMo payment that waits for its callback, and return the payment."""
    with engine.begin() as connection:
        return insert_payment(connection, provider="MOMO")


def ended(process, sent=signal.SIGTERM):
    """Send a signal to the process. Return its output and exit code."""
    process.send_signal(sent)
    stdout, _ = process.communicate(timeout=20)
    return stdout.decode(), process.returncode


def ask(port, method, target, body=None, headers=None):
    """Send one request and return the reply's status, headers and body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=15)
    connection.request(method, target, body, headers or {})
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()


def deliver(port, request):
    """Send a callback to ``listen`` as the gateway does."""
    query = f"?{request.query}" if request.query else ""
    return ask(port, request.method, request.path + query, request.body or None)


def test_listen_settles_callbacks_and_prints_a_line_for_each(listening, pending):
    """`listen` replies as the gateway requires, prints one ndjson line for each request, and ends with a summary."""
    process, port = listening()
    request = callback(pending)
    assert deliver(port, request)[0] == 204
    assert deliver(port, request)[0] == 204
    assert deliver(port, callback(pending, Scenario.BAD_SIGNATURE))[0] == 400
    stdout, code = ended(process)
    *items, summary = map(json.loads, stdout.splitlines())
    assert [item["outcome"] for item in items] == ["settled", "already_settled", "refused"]
    assert items[0]["order_code"] == pending.order_code
    assert (code, summary["type"], summary["counts"]) == (143, "summary", {"requests": 3})


def test_listen_prints_one_valid_document_at_its_end(listening, pending):
    """With -o json, `listen` prints one valid document when it stops."""
    process, port = listening("json")
    deliver(port, callback(pending))
    stdout, code = ended(process, signal.SIGINT)
    document = json.loads(stdout)
    check(document)
    assert (code, document["exit_code"], len(document["items"])) == (130, 130, 1)


def test_twenty_concurrent_callbacks_write_one_event(listening, pending, engine):
    """If twenty identical callbacks arrive at the same time, one settles the payment, and the others change nothing."""
    process, port = listening()
    request = callback(pending)
    with ThreadPoolExecutor(20) as threads:
        replies = list(threads.map(lambda _: deliver(port, request)[0], range(20)))
    assert replies == [204] * 20
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one() == 1
    outcomes = [json.loads(line).get("outcome") for line in ended(process)[0].splitlines()]
    assert outcomes.count("settled") == 1


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (("GET", "/", None, {}), 404),
        (("POST", "/favicon.ico", b"{}", {}), 404),
        (("PUT", "/webhook/momo", b"{}", {}), 405),
        (("GET", "/webhook/momo", None, {}), 405),
        (("POST", "/webhook/vnpay", b"{}", {}), 405),
        (("HEAD", "/webhook/vnpay", None, {}), 405),
        (("POST", "/webhook/momo", b"x" * 70_000, {}), 413),
        (("POST", "/webhook/momo", None, {"Content-Length": "9" * 400}), 413),
        (("POST", "/webhook/momo", None, {"Content-Length": "-1"}), 400),
        (("POST", "/webhook/momo", None, {"Transfer-Encoding": "gzip, chunked"}), 400),
        (("POST", "/webhook/momo", None, {"Transfer-Encoding": "chunked", "Content-Length": "2"}), 400),
        (("POST", "/webhook/momo", b"{}", {}), 400),
        (("GET", LONG_QUERY, None, {}), 414),
    ],
    ids=lambda each: str(each)[:40],
)
def test_listen_refuses_a_request_that_is_not_a_callback(asked, status, shared_port):
    """If a request is not a callback, `listen` replies with the HTTP status that matches the problem."""
    assert ask(shared_port, *asked)[0] == status


@pytest.fixture(scope="module")
def shared_port():
    """Run one server for all tests that do not need a database, and yield its port."""

    def handle(_request, gateway, _headers):
        return gateway.reply(Answer.BAD_SIGNATURE)

    with webhook_server(handle, lambda *_: None) as base:
        yield int(base.rpartition(":")[2])


def test_listen_on_a_port_in_use_exits_with_4(answer, database_url):
    """`payctl listen` exits with 4 if the port is in use, and the error names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        document = answer("listen", "--port", port, DATABASE_URL=database_url, **KEYS)
    assert document["exit_code"] == 4
    assert port in document["error"]["message"]


def test_listen_does_not_start_without_payctl_s_schema(answer, empty_database_url):
    """If payctl's schema is missing, `listen` exits with 3 when it starts."""
    document = answer("listen", "--port", "0", DATABASE_URL=empty_database_url, **KEYS)
    assert document["exit_code"] == 3
