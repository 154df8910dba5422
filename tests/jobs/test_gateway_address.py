"""Test which address payctl uses for the status queries to a gateway."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.reconcile.address import gateway_address
from ticketbottle_payctl.providers.queries import QUERIES

MOMO, VNPAY = QUERIES["momo"], QUERIES["vnpay"]


def test_a_gateway_has_a_sandbox_address_and_a_production_address():
    """Without a configured address, payctl uses the gateway's own. Only VNPay tells each merchant a production host."""
    hosts = [
        gateway_address({}, query, production=production) for query in (MOMO, VNPAY) for production in (False, True)
    ]
    assert hosts[:2] == ["https://test-payment.momo.vn", "https://payment.momo.vn"]
    assert hosts[2:] == ["https://sandbox.vnpayment.vn", None]


def test_a_configured_address_is_used_without_its_last_slashes():
    """A configured address replaces the gateway's own, and an empty one does not."""
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
