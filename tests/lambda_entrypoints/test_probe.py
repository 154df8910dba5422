"""Test that the probe sends a forgery to each gateway's route and judges the reply."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from lambda_entrypoints import probe, webhook
from lambda_entrypoints.forgeries import FORGERIES, USER_AGENT
from tests.lambda_entrypoints import events
from tests.lambda_entrypoints.test_end_to_end import http_api  # noqa: F401 - a fixture
from ticketbottle_payctl.domain.callback import Rejected, RejectReason
from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.providers import GATEWAYS, credentials, resolve
from ticketbottle_payctl.sandbox.callbacks import Scenario, environment
from ticketbottle_payctl.sandbox.server import free_port
from ticketbottle_payctl.secret import Secret

TICK = events.read("scheduler-publish-outbox.json")
NOWHERE = "postgresql://somebody:a-password-of-mine@127.0.0.1:1/payments"
OFF = dict.fromkeys(environment(), "")


def forged(provider, **headers):
    """Return an HTTP API event that contains a gateway's forgery."""
    return events.http_event(FORGERIES[provider], headers={"user-agent": USER_AGENT, **headers})


@pytest.fixture
def answering():
    """Yield a function that starts a server with a fixed reply and returns the server's URL."""
    servers = []

    def start(status, body):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815 - the base class's names

            def log_message(self, *_):
                """Suppress the server's own log."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("provider", GATEWAYS)
def test_each_forgery_is_refused_for_its_signature(provider):
    """Each gateway refuses the probe's forgery because of its signature, which proves that the key was read."""
    forgery, gateway = FORGERIES[provider], GATEWAYS[provider]
    assert resolve(forgery) is gateway
    values = environment()
    found = gateway.verify(
        forgery, credentials(gateway, lambda name: (Secret(values[name]),) if name in values else ())
    )
    assert isinstance(found, Rejected)
    assert found.reason is RejectReason.SIGNATURE
    assert FORGERIES.keys() == GATEWAYS.keys()


def test_every_forgery_is_refused_by_the_deployed_code(lambda_, http_api):  # noqa: F811 - the fixture
    """In AWS's runtime, the webhook refuses a forgery for each gateway, without a database."""
    address = http_api(lambda_("webhook", timeout=10, DATABASE_URL=NOWHERE))
    function = lambda_("probe", timeout=60, PAYCTL_PROBE_URL=address)
    assert function.invoke(TICK).payload == dict.fromkeys(GATEWAYS, "refused")
    assert (function.sums()["ProbeRefused"], function.sums()["ProbeFailed"]) == (len(GATEWAYS), 0)
    door = lambda_.started[0]
    assert (door.sums()["WebhookProbed"], door.sums("provider")["WebhookProbed"]) == (len(GATEWAYS),) * 2
    assert {"WebhookReceived", "WebhookRefused", "WebhookRejectedSignature"}.isdisjoint(door.sums())
    assert len(door.lines(message="webhook_probed", reason="signature")) == len(GATEWAYS)


def test_the_probe_skips_a_gateway_without_keys(lambda_, http_api):  # noqa: F811 - the fixture
    """The probe reports a gateway without keys as not configured, and does not fail."""
    off = {name: "" for name in environment() if not name.startswith("MOMO")}
    address = http_api(lambda_("webhook", timeout=10, DATABASE_URL=NOWHERE, **off))
    function = lambda_("probe", timeout=60, PAYCTL_PROBE_URL=address)
    assert function.invoke(TICK).payload == dict.fromkeys(GATEWAYS, "not_configured") | {"momo": "refused"}
    assert (function.sums()["ProbeRefused"], function.sums()["ProbeFailed"]) == (1, 0)
    assert "WebhookNotConfigured" not in lambda_.started[0].sums()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"return_code":1,"return_message":"success"}'),
        (500, b""),
        (404, b'{"message":"Not Found"}'),
        (403, b'{"message":"Forbidden"}'),
        (429, b'{"message":"Too Many Requests"}'),
        (200, b"<html>\xff</html>"),
    ],
    ids=["accepted", "try again", "no route", "forbidden", "throttled", "another site"],
)
def test_the_probe_fails_if_a_forgery_is_not_refused(called, answering, status, body):
    """The probe fails if a reply accepts the forgery or does not clearly refuse it."""
    assert set(called(probe.handler, TICK, PAYCTL_PROBE_URL=answering(status, body)).values()) == {"failed"}
    assert (called.printed.metrics["ProbeRefused"], called.printed.metrics["ProbeFailed"]) == (0, len(GATEWAYS))
    lines = [line for line in called.printed.logs if line["message"] == "probe"]
    assert {(line["status"], line["level"]) for line in lines} == {(status, "ERROR")}


def test_the_probe_fails_if_the_webhook_does_not_answer(called):
    """If the webhook does not answer, the probe fails, logs the reason, and tries the next gateway's route."""
    found = called(probe.handler, TICK, PAYCTL_PROBE_URL=f"http://127.0.0.1:{free_port()}")
    assert found == dict.fromkeys(GATEWAYS, "failed")
    assert {line["reason"] for line in called.printed.logs} == {"ConnectionRefusedError"}


@pytest.mark.parametrize(("url", "error"), [("", ConfigError), ("http://payments.example", InputError)])
def test_the_probe_needs_an_https_address(called, url, error):
    """If the probe's address is missing or is not https, the probe raises an error without sending a request."""
    with pytest.raises(error):
        called(probe.handler, TICK, PAYCTL_PROBE_URL=url)
    assert called.printed.metrics.keys() == {"ColdStart"}


@pytest.mark.parametrize("provider", GATEWAYS)
def test_a_genuine_callback_with_the_probe_s_name_is_settled(called, shop, database_url, paid, provider):
    """The webhook settles and counts a genuine callback like any other, even if it has the probe's name."""
    payment = shop.payment(provider)
    event = paid(payment, Scenario.PAID, headers={"user-agent": USER_AGENT})
    called(webhook.handler, event, DATABASE_URL=database_url)
    assert shop.status(payment) == "COMPLETED"
    assert called.printed.metrics["WebhookAccepted"] == 1
    assert "WebhookProbed" not in called.printed.metrics


@pytest.mark.parametrize("environ", [{}, OFF])
def test_a_stranger_s_forgery_is_counted(called, environ):
    """The webhook counts a forgery without the probe's name as a refused callback."""
    called(webhook.handler, forged("momo", **{"user-agent": "payctl-probe/2"}), DATABASE_URL=NOWHERE, **environ)
    expected = "WebhookNotConfigured" if environ else "WebhookRefused"
    assert called.printed.metrics[expected] == 1


def test_the_probe_fails_during_an_outage_of_the_webhook(called):
    """During an outage, the webhook counts a forgery with the probe's name as a transient error, so the probe fails."""
    called(webhook.handler, forged("momo"), DATABASE_URL=NOWHERE, OUTBOX_BATCH_SIZE="many")
    assert called.printed.metrics["WebhookTransientError"] == 1
