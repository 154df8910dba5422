"""Test the statements with which shell completion reads the database."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from ticketbottle_payctl.jobs.complete_ids import latest_receipts

pytestmark = pytest.mark.postgres


def test_the_suggested_callbacks_need_one_statement(engine, execute):
    """Shell completion reads callbacks with one statement.

    The statement does not look up which callbacks are closed.
    """
    execute(
        """INSERT INTO payctl.webhook_receipts (id, provider, order_ref, reference, amount, currency, outcome, result,
            reason, method, path, query, body, body_sha256)
        VALUES (gen_random_uuid(), 'momo', 'TB-1', 'r', 1, 'VND', 'COMPLETED', 'refused', 'wrong_amount', 'POST', '/',
            '', '', '')"""
    )
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    (receipt,) = latest_receipts(engine)
    assert (receipt["order_ref"], "closed" in receipt, len(statements)) == ("TB-1", False, 1), statements
