"""Test the whole flow in AWS's runtime, from an HTTP request through two functions and PostgreSQL to Kafka."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

import pytest

from tests.checker import Verdict, judge, rows_of
from tests.jobs.process_webhook.test_replies import WORDS
from tests.lambda_entrypoints import events
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import callback
from ticketbottle_payctl.sandbox.server import wait_until

EACH = 5
"""The number of payments for each gateway."""

SCHEDULED = events.read("scheduler-publish-outbox.json")


@pytest.fixture
def http_api():
    """Yield a function that starts an HTTP API in front of execution environments.

    Each execution environment runs one invocation at a time.
    """
    servers = []

    def start(*environments):
        free = Queue()
        for environment in environments:
            free.put(environment)

        class Gateway(BaseHTTPRequestHandler):
            def do_POST(self):
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                event = events.http_event(Request(self.command, path, query, body), encoded=True, headers=headers)
                environment = free.get()
                try:
                    answer = environment.invoke(event).payload
                finally:
                    free.put(environment)
                self.send_response(answer["statusCode"])
                for name, value in answer["headers"].items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer["body"].encode())))
                self.end_headers()
                self.wfile.write(answer["body"].encode())

            do_GET = do_POST  # noqa: N815 - the base class's names

            def log_message(self, *_):
                """Suppress the server's own log."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def call(address, request, correlation_id):
    """Send a request as the gateway does. Return the reply's status and parsed body."""
    url = f"{address}{request.path}" + (f"?{request.query}" if request.query else "")
    headers = {"content-type": "application/json", "x-correlation-id": correlation_id}
    sent = urllib.request.Request(url, request.body or None, headers, method=request.method)  # noqa: S310
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:  # noqa: S310 - our own server
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read()
    return status, json.loads(body) if body else None


@pytest.mark.kafka
@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "the processor killed in the middle"])
def test_a_repeated_callback_becomes_exactly_one_message(
    lambda_, http_api, shop, engine, database_url, kafka, read_all, killed
):
    """If each callback is sent three times at once, Kafka gets exactly one message per payment."""
    address = http_api(*(lambda_("webhook", timeout=10, DATABASE_URL=database_url) for _ in range(2)))
    settings = {"DATABASE_URL": database_url, **kafka.environment()}
    payments = {f"{provider}-{number}": shop.payment(provider) for provider in GATEWAYS for number in range(EACH)}
    with ThreadPoolExecutor(8) as pool:
        if killed:
            processor = lambda_("publish_outbox", PAYCTL_LOOP_SECONDS="40", OUTBOX_BATCH_SIZE="7", **settings)
            tick = pool.submit(processor.invoke, SCHEDULED)
            payments["momo-first"] = shop.payment("momo")
            call(address, callback(payments["momo-first"]), "momo-first")
            wait_until(lambda: shop.pending() == 0, what="the processor publishes", timeout=30)
            kafka.pause()
        send_all(pool, address, payments)
        if killed:
            wait_until(lambda: busy(engine), what="a batch is claimed and being sent", timeout=30)
            processor.signal(signal.SIGKILL)
            tick.result(60)
            kafka.resume()
            wait_until(lambda: not busy(engine), what="the server has noticed", timeout=30)
            assert shop.pending() == EACH * len(GATEWAYS)
    answer = lambda_("publish_outbox", PAYCTL_LOOP_SECONDS="0", **settings).invoke(SCHEDULED).payload
    assert answer == {"stopped_because": "empty", "published": EACH * len(GATEWAYS)}
    messages = read_all(kafka.bootstrap)
    verdict = judge(rows_of(engine), messages)
    assert (verdict.lost, verdict.phantom, verdict.altered, verdict.overtaken) == ([], [], [], [])
    assert killed or verdict == Verdict()
    assert who_called(messages) == {name: payment.id for name, payment in payments.items()}
    assert {row.state for row in rows_of(engine)} == {"published"}


def send_all(pool, address, payments):
    """Send each payment's callback three times at once.

    Assert that all replies have the right status, and that one reply accepts the callback.
    """
    calls = {
        name: [pool.submit(call, address, callback(payment), name) for _ in range(3)]
        for name, payment in payments.items()
    }
    for name, sent in calls.items():
        answers, (status, body) = [each.result() for each in sent], WORDS[name.partition("-")[0]]["done"]
        assert {found for found, _ in answers} == {status}
        assert (status, json.loads(body) if body else None) in answers or name == "momo-first"


def who_called(messages):
    """Return a dictionary that maps each message's correlation id to its payment id."""
    return {m.header["correlationId"].decode(): json.loads(m.value)["payment_id"] for m in messages}


def busy(engine):
    """Return whether a publisher has claimed rows in an open transaction."""
    claimed = "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
    with engine.connect() as connection:
        return connection.exec_driver_sql(claimed).first() is not None
