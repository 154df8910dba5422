"""Test that closing held money does not hide that its payment is still PENDING."""

from __future__ import annotations

import pytest

from tests.cli.commands.show.findings_to_close import HOUR

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("status", ["PENDING", "FAILED"])
def test_after_held_money_is_closed_a_pending_payment_still_has_a_next_step(status, orders, close, shown):
    """`close` warns while the payment is PENDING, and `show` still names the command that settles the payment."""
    orders.pay(status, age=HOUR / 2).callback("IGNORED", "ignored", "held")
    settle = f"payctl reconcile payments {orders.name}"
    document = close()
    assert document["counts"] == {"closed": 1}
    pending = status == "PENDING"
    assert [settle in each and "PENDING" in each for each in document["warnings"]] == [True] * pending
    assert (settle in shown().commands) is pending
