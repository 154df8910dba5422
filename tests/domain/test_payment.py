"""Test that payctl recognises each known payment status in the database."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.domain.payment import PaymentStatus, status_of


@pytest.mark.parametrize("status", list(PaymentStatus))
def test_status_of_returns_every_known_status(status):
    """`status_of` returns the matching status for every known value in the database."""
    assert status_of(status.value) is status
