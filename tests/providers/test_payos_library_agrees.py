"""Test that payctl and PayOS's own Python library accept and refuse the same webhooks."""

import pytest

from ticketbottle_payctl.domain.callback import Callback

payos = pytest.importorskip("payos", reason="this file compares payctl with PayOS's own library")

# The vectors on which the official Python library 1.1.0 disagrees, and the reason why payctl's verdict is right.
DISAGREEMENTS = {
    "payos-field-array-of-text-with-emoji": "it prints a text in an array as it is",
    "payos-success-optional-fields-absent": "it signs absent optional fields as empty ones",
    "payos-success-extra-signed-field": "its models forbid fields it does not know",
    "payos-success-extra-envelope-field": "its models forbid fields it does not know",
    "payos-success-array-of-objects": "its models forbid fields it does not know",
}


def accepted_by_the_library(vector):
    """Return whether PayOS's own code accepts the webhook."""
    client = payos.PayOS(client_id="client", api_key="api", checksum_key=vector.keys["checksum_key"])
    try:
        client.webhooks.verify(vector.request.body)
    except payos.WebhookError:
        return False
    finally:
        client.close()
    return True


def test_payos_s_own_library_agrees_with_payctl(payos_vector):
    """PayOS's Python library and payctl accept and refuse the same webhooks, except for those listed in this test."""
    agrees = accepted_by_the_library(payos_vector) == isinstance(payos_vector.verify(), Callback)
    assert agrees != (payos_vector.name in DISAGREEMENTS)
