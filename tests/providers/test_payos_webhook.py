"""Test that payctl correctly reads PayOS's response to the registration of a webhook URL."""

from __future__ import annotations

import json

import pytest

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.payos_webhook import Registration, read

URL = "https://shop.example/webhook/payos"


def answer(status, **fields):
    """Return a PayOS response with this HTTP status and these fields."""
    return HttpResponse(status, json.dumps(fields).encode())


@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_success_with_code_00_is_a_registration(status):
    """If PayOS responds with code 00, the webhook is registered, even if PayOS does not return the URL."""
    assert read(answer(status, code="00", data={"webhookUrl": URL}), URL) == Registration(entered=True, code="00")
    assert read(answer(status, code="00"), URL) == Registration(entered=True, code="00")


def test_another_url_than_the_one_that_was_sent_is_not_a_registration():
    """If PayOS returns a different URL, the webhook does not count as registered."""
    said = "PayOS returned a different URL from the one that was sent"
    found = read(answer(200, code="00", data={"webhookUrl": "https://other"}), URL)
    assert found == Registration(entered=False, code="00", said=said)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_busy_payos_is_unavailable(status):
    """If PayOS's HTTP status means busy, payctl raises UnavailableError, regardless of the body."""
    with pytest.raises(UnavailableError, match=f"HTTP {status}"):
        read(answer(status, code="00"), URL)


@pytest.mark.parametrize("status", [400, 401, 499])
def test_a_refusal_without_a_code_is_named_by_its_http_status(status):
    """If PayOS refuses the URL without a code, the result names the HTTP status."""
    assert read(answer(status, desc="no"), URL) == Registration(entered=False, code=f"HTTP {status}", said="no")
    assert read(HttpResponse(status, b"<html>"), URL) == Registration(entered=False, code=f"HTTP {status}")


def test_a_refusal_with_a_code_has_payos_s_words():
    """If PayOS refuses with a code, the result contains the refusal's description and data, cut to 200 characters."""
    found = read(answer(200, code="20", desc="invalid", data="x" * 300), URL)
    assert found == Registration(entered=False, code="20", said=("invalid: " + "x" * 300)[:200])


@pytest.mark.parametrize("response", [answer(200), answer(300, code="00"), HttpResponse(200, b"[]")])
def test_an_answer_that_is_neither_is_unavailable(response):
    """If payctl cannot read the response, PayOS might have registered the URL, so payctl raises UnavailableError."""
    with pytest.raises(UnavailableError, match="cannot read"):
        read(response, URL)
