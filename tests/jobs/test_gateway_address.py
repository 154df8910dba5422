"""Test which address payctl uses for the status queries to a gateway, and why it cannot query a gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.stand_ins import KEYS
from ticketbottle_payctl import http_client, payos_sdk
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.reconcile.address import gateway_address
from ticketbottle_payctl.jobs.reconcile.endpoints import status_endpoints
from ticketbottle_payctl.providers import credentials
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.status_query import StatusRequest
from ticketbottle_payctl.secret import Secret

MOMO, VNPAY = QUERIES["momo"], QUERIES["vnpay"]


def test_a_gateway_has_a_sandbox_address_and_a_production_address():
    """If no address is configured, payctl uses the gateway's documented address.

    VNPay documents no production address, because VNPay tells each merchant a host.
    """
    hosts = [
        gateway_address({}, query, production=production) for query in (MOMO, VNPAY) for production in (False, True)
    ]
    assert hosts[:2] == ["https://test-payment.momo.vn", "https://payment.momo.vn"]
    assert hosts[2:] == ["https://sandbox.vnpayment.vn", None]


def test_a_configured_address_is_used_without_its_last_slashes():
    """A configured address replaces the gateway's documented address, but an empty address does not."""
    for value, expected in (("https://proxy.test/momo//", "https://proxy.test/momo"), ("", MOMO.hosts[True])):
        assert gateway_address({"PAYCTL_MOMO_URL": value}, MOMO, production=True) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("https://proxy.test/?a=b", "PAYCTL_MOMO_URL must not have a query or a fragment"),
        ("https://proxy.test/#a", "PAYCTL_MOMO_URL must not have a query or a fragment"),
        ("http://proxy.test", "PAYCTL_MOMO_URL: a request to proxy.test would not be encrypted"),
        ("proxy", "PAYCTL_MOMO_URL: the value is not a URL like https://host/path"),
    ],
)
def test_a_wrong_address_is_refused(value, words):
    """If a configured address cannot be a base URL, the error names its variable and not its value."""
    with pytest.raises(ConfigError) as raised:
        gateway_address({"PAYCTL_MOMO_URL": value}, MOMO, production=True)
    assert raised.value.message == words


def endpoints(known=KEYS, environ=None, *, production=False):
    """Return the endpoints of a merchant with these credentials."""

    def credentials_of(gateway):
        return credentials(gateway, lambda name: (Secret(known[name]),) if name in known else ())

    return status_endpoints(environ or {}, credentials_of, production=production)


@pytest.mark.parametrize(
    ("missing", "gateway", "reason"),
    [
        ((), "momo", ""),
        (("MOMO_ACCESS_KEY",), "momo", "not set: MOMO_ACCESS_KEY"),
        (("MOMO_ACCESS_KEY", "MOMO_PARTNER_CODE"), "momo", "not set: MOMO_PARTNER_CODE, MOMO_ACCESS_KEY"),
        (("MOMO_ACCESS_KEY",), "zalopay", ""),
        ((), "vnpay", "not set: PAYCTL_VNPAY_URL; ask the gateway for its URL"),
        (("VNPAY_TMN_CODE",), "vnpay", "not set: VNPAY_TMN_CODE"),
    ],
)
def test_a_gateway_is_queried_only_if_its_credentials_and_its_address_are_known(missing, gateway, reason):
    """If a credential or an address is missing, payctl does not query the gateway, and names each missing variable."""
    known = {name: value for name, value in KEYS.items() if name not in missing}
    endpoint = endpoints(known, production=True)[gateway]
    assert (endpoint.closed, endpoint.exchange is None) == (reason, bool(reason))


def test_payos_is_queried_with_its_own_library_and_other_gateways_over_http(monkeypatch):
    """A query goes to the configured address with httpx, and a query to PayOS goes there with PayOS's own library."""
    sent = []
    answers = {"send": HttpResponse(200, b"one"), "payment_link": HttpResponse(200, b"two")}
    monkeypatch.setattr(http_client, "send", lambda *asked: sent.append(asked) or answers["send"])
    monkeypatch.setattr(payos_sdk, "payment_link", lambda *asked: sent.append(asked) or answers["payment_link"])
    now, wait = datetime(2026, 11, 29, tzinfo=UTC), timedelta(seconds=7)
    known = endpoints(environ={"PAYCTL_MOMO_URL": "https://momo.test", "PAYCTL_PAYOS_URL": "https://payos.test"})
    asked = StatusRequest("R-1", "TB-1", 9, now, now, "q")
    assert [known[name].exchange(asked, wait) for name in ("momo", "payos")] == list(answers.values())
    (request, first_wait), (account, link, second_wait) = sent
    assert (request.url.startswith("https://momo.test/"), account.base) == (True, "https://payos.test")
    assert (link, first_wait, second_wait) == ("R-1", wait, wait)
