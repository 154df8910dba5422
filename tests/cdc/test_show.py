"""Test that ``payctl show`` does not recommend commands that fail while Debezium publishes the outbox."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ticketbottle_payctl.jobs.order import show
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


@pytest.mark.parametrize(
    ("state", "error", "commands"),
    [
        ("pending", None, ["payctl cdc mark"]),
        ("dead", "INVALID_REQUEST: x", ["payctl cdc cut-back"]),
        ("published", None, []),
    ],
)
def test_show_advises_cdc_commands_while_debezium_publishes(scene, state, error, commands):
    """While Debezium publishes, `show` recommends cdc commands rather than a replay.

    A replay would not help, because Debezium does not send requeued events.
    """
    scene.cut_over()
    with scene.engine.begin() as connection:
        insert_events(connection, 1, state=state, last_error=error)
        insert_payments_of_events(connection)
        payment = connection.exec_driver_sql("SELECT id FROM payments").scalar_one()
    advice = show(scene.engine, payment, max_retries=5, now=datetime.now(UTC)).advice
    assert [each.command for each in advice] == commands
