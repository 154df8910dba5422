"""Test the requests, responses and limits of PayOS's own library on top of payctl's HTTP client."""

from __future__ import annotations

import json
import socket
import time
from datetime import timedelta

import pytest

from tests.stand_ins import KEYS, Gateways, serving
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES
from ticketbottle_payctl.errors import InputError, UnavailableError
from ticketbottle_payctl.payos_sdk import PayosAccount, confirm_webhook, payment_link
from ticketbottle_payctl.secret import Secret

TIMEOUT = timedelta(seconds=5)
HOOK = "https://shop.example/webhook/payos"


def account(base, **changes):
    """Return the merchant's PayOS account."""
    names = ("client_id", "api_key", "checksum_key")
    return PayosAccount(base, {name: (Secret(changes.get(name, KEYS[f"PAYOS_{name.upper()}"])),) for name in names})


@pytest.fixture
def gateways():
    """Yield a loopback server that acts as PayOS."""
    with serving(Gateways()) as served:
        yield served


def replying(gateways, *, status=200, body=b"", headers=()):
    """Make PayOS answer every request with this response.

    Return the list of the requests that this PayOS server receives.
    """
    came = []

    def reply(handler):
        came.append((handler.command, handler.path, {name.lower(): value for name, value in handler.headers.items()}))
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    gateways.hostile = reply
    return came


@pytest.mark.parametrize("prefix", ["", "/", "/proxy/payos"])
@pytest.mark.parametrize(("link", "sent"), [("a-link", "a-link"), ("a/b?c#d%", "a%2Fb%3Fc%23d%25"), ("vé", "v%C3%A9")])
def test_the_library_asks_for_a_payment_link(gateways, link, sent, prefix):
    """A payment link request contains the merchant's keys, and the path is correct for any character in the link id."""
    came = replying(gateways, body=b"{}")
    payment_link(account(gateways.base + prefix), link, TIMEOUT)
    ((method, path, headers),) = came
    assert (method, path) == ("GET", f"{prefix.rstrip('/')}/v2/payment-requests/{sent}")
    assert (headers["x-client-id"], headers["x-api-key"]) == (KEYS["PAYOS_CLIENT_ID"], KEYS["PAYOS_API_KEY"])
    assert headers["user-agent"].startswith("payctl/")
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("ask", [payment_link, confirm_webhook])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"code":"00","data":{"id":"x","new":{"field":1}},"signature":"not this"}'),
        (200, b'{"code":"101","desc":"no such"}'),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"\xff\xfe"),
        (200, b'{"code":{"a":[]},"data":7}'),
        (200, b""),
        (401, b'{"code":"401"}'),
        (403, b"error code: 1010"),
        (429, b""),
        (500, b"[1]"),
        (302, b""),
    ],
)
def test_each_answer_of_payos_is_returned_unchanged(gateways, ask, status, body):
    """PayOS's library sends one request and returns the response byte for byte.

    By default, the library would refuse some of these responses, or repeat the request.
    """
    came = replying(
        gateways, status=status, body=body, headers=[("Location", "http://127.0.0.1:1/"), ("Retry-After", "9")]
    )
    response = ask(account(gateways.base), HOOK, TIMEOUT)
    assert (response.status, response.body, len(came)) == (status, body, 1)


@pytest.mark.parametrize("ask", [payment_link, confirm_webhook])
def test_a_compressed_or_very_long_answer_of_payos_is_cut(gateways, ask):
    """The PayOS client does not decompress responses, and stops reading one byte past its size limit."""
    replying(gateways, body=b"\x1f\x8b" + b"x" * 2_000_000, headers=[("Content-Encoding", "gzip")])
    assert len(ask(account(gateways.base), HOOK, TIMEOUT).body) == MAX_BODY_BYTES + 1


@pytest.mark.parametrize("ask", [payment_link, confirm_webhook])
def test_one_deadline_covers_an_answer_of_payos_that_comes_byte_by_byte(gateways, ask):
    """The deadline covers PayOS's whole response, even though the library's own timeout covers only each read."""

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            handler.wfile.write(b" ")
            time.sleep(0.02)

    gateways.hostile = drip
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no complete response within 0\.4 s"):
        ask(account(gateways.base), HOOK, timedelta(seconds=0.4))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("ask", [payment_link, confirm_webhook])
@pytest.mark.parametrize(
    ("base", "error"),
    [("http://payos.example", InputError), ("ftp://127.0.0.1", InputError), ("http://127.0.0.1:1", UnavailableError)],
)
def test_payos_s_address_needs_tls(ask, base, error):
    """PayOS's address can use plain http only on this machine. A failed connection raises UnavailableError."""
    with pytest.raises(error):
        ask(account(base), HOOK, TIMEOUT)


def test_the_environment_does_not_change_the_requests_to_payos(gateways, monkeypatch):
    """Requests to PayOS ignore proxy variables and the library's own variables."""
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "PAYOS_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    came = replying(gateways, body=b"{}")
    assert payment_link(account(gateways.base), "a-link", TIMEOUT).status == 200
    assert len(came) == 1


@pytest.mark.parametrize("name", ["client_id", "api_key"])
@pytest.mark.parametrize("value", ["hidden\r\nX: y", "hiddén"])
def test_the_error_for_a_payos_key_that_http_does_not_allow_hides_it(name, value):
    """A PayOS key with a forbidden character raises an error before a connection is opened. The error hides the key."""
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(UnavailableError) as caught:
        payment_link(account(f"http://127.0.0.1:{listening.getsockname()[1]}", **{name: value}), "a-link", TIMEOUT)
    assert "character that HTTP does not allow" in caught.value.message
    assert "hidd" not in caught.value.message + caught.value.hint
    assert caught.value.__cause__ is None


def test_the_payos_library_logs_no_secret(gateways, caplog):
    """Even at log level DEBUG, the PayOS library does not log keys or account numbers."""
    caplog.set_level("DEBUG")
    replying(gateways, body=json.dumps({"code": "00", "data": {"accountNumber": "0071000"}}).encode())
    payment_link(account(gateways.base), "a-link", TIMEOUT)
    text = "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for name in ("PAYOS_API_KEY", "PAYOS_CHECKSUM_KEY"):
        assert KEYS[name] not in text
