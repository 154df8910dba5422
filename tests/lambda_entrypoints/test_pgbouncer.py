"""Test the webhook function with a connection pooler in transaction mode, which works like RDS Proxy."""

from __future__ import annotations

import pytest

from lambda_entrypoints.webhook import handler
from tests.faults.conftest import pooler  # noqa: F401 - a fixture
from ticketbottle_payctl.providers import GATEWAYS


@pytest.mark.parametrize("kept", ["false", "true"])
def test_the_webhook_function_settles_through_a_pooler(called, shop, paid, pooler, kept):  # noqa: F811
    """The webhook settles callbacks through a connection pooler, with and without PAYCTL_DB_POOL."""
    url = pooler(1).url
    for name in GATEWAYS:
        payment = shop.payment(name)
        for _ in range(2):
            answer = called(handler, paid(payment), DATABASE_URL=url, PAYCTL_DB_POOL=kept)
            assert answer["statusCode"] in {200, 204}
        assert shop.status(payment) == "COMPLETED"
    assert shop.query("SELECT count(*) AS n FROM outbox") == [{"n": len(GATEWAYS)}]
    assert called.printed.metrics.get("WebhookTransientError") is None
