"""Test that ``jobs/forward_callback`` forwards only genuine callbacks, and that the gateway gets the right reply."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest

from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.jobs.forward_callback import Destination, forward_callback
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.secret import Secret

URL, PATIENCE = "https://shop.internal/webhook", timedelta(seconds=4)


class Service:
    """The service that gets the callbacks. It records each request, and answers with ``response`` or an error."""

    def __init__(self, response):
        self.response, self.requests = response, []

    def send(self, request, timeout):
        """Record the request, and return the response."""
        self.requests.append((request, timeout))
        if isinstance(self.response, Exception):
            raise self.response
        return self.response


def forward(name, response, *, headers=(), keys=None, **changes):
    """Forward the built-in example of a gateway. Return the report, the service and the gateway."""
    example, service = sample(name), Service(response)
    request = replace(example.request, **changes)
    gateway = GATEWAYS[name]
    credentials = example.credentials if keys is None else keys
    report = forward_callback(request, dict(headers), gateway, credentials, Destination(URL, PATIENCE, service.send))
    return report, service, gateway


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_genuine_callback_is_passed_on_unchanged(name):
    """The service gets a genuine callback's method, query and body, and the gateway gets the service's reply."""
    began = time.monotonic()
    report, service, _ = forward(name, HttpResponse(202, b"\xffok", "text/plain"))
    ((sent, timeout),) = service.requests
    request = sample(name).request
    query = f"?{request.query}" if request.query else ""
    assert (sent.method, sent.url, sent.body, timeout) == (request.method, URL + query, request.body, PATIENCE)
    assert (report.outcome, report.reason, report.url) == ("forwarded", None, URL)
    assert (report.reply.status, report.reply.headers) == (202, {"content-type": "text/plain"})
    assert report.reply.body.encode("utf-8", "surrogateescape") == b"\xffok"
    assert report.order_code
    assert timedelta(0) <= report.took <= timedelta(seconds=time.monotonic() - began)


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_callback_that_is_not_genuine_is_not_passed_on(name):
    """A forged callback is not forwarded, and neither is a callback from a gateway without keys.

    The two cases get different replies.
    """
    forged = {field.name: (Secret("wrong"),) for field in GATEWAYS[name].fields}
    for keys, answer in (({}, Answer.NOT_CONFIGURED), (forged, Answer.BAD_SIGNATURE)):
        report, service, gateway = forward(name, HttpResponse(200), keys=keys)
        assert (report.outcome, report.reply, service.requests) == ("refused", gateway.reply(answer), [])
        assert (report.url, report.took, report.order_code) == (None, None, None)
        assert report.reason


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (HttpResponse(200, b"x" * 65_537), "the reply is larger than 64 KiB"),
        (UnavailableError("the service did not answer"), "the service did not answer"),
    ],
)
def test_without_a_complete_reply_the_gateway_is_asked_to_call_again(response, reason):
    """If the service does not answer, or its reply is too large, the gateway is asked to send the callback again."""
    report, service, gateway = forward("vnpay", response)
    assert (report.outcome, report.reason, report.url) == ("failed", reason, URL)
    assert (report.reply, len(service.requests)) == (gateway.reply(Answer.TRY_AGAIN), 1)
    assert report.took >= timedelta(0)


def test_the_largest_reply_is_passed_back():
    """The service's reply is passed to the gateway if it has at most 64 KiB."""
    report, _, _ = forward("momo", HttpResponse(200, b"x" * 65_536))
    assert (report.outcome, len(report.reply.body)) == ("forwarded", 65_536)


@pytest.mark.parametrize(("kind", "headers"), [
    ("", {}), ("text/html", {"content-type": "text/html"}), ("text/\u00e9", {}), ("text/a\r\nx: y", {}),
])  # fmt: skip
def test_only_a_plain_content_type_is_passed_back(kind, headers):
    """The gateway gets the service's content type, unless it contains characters that a header cannot contain."""
    report, _, _ = forward("momo", HttpResponse(200, b"", kind))
    assert report.reply.headers == headers


def test_headers_of_the_connection_are_not_passed_on():
    """The service gets the gateway's headers as bytes, without those that apply only to the connection to payctl."""
    given = {"Host": "payctl", "X-Signature": "\u00e9", "Content-Length": "3", "content-type": "application/json"}
    _, service, _ = forward("momo", HttpResponse(200), headers=given)
    assert service.requests[0][0].headers == {"X-Signature": b"\xe9", "content-type": b"application/json"}
