"""Test that no event is lost if a cut-over is killed after any of its SQL statements or sends.

Each test then takes the outbox back from Debezium, publishes, and checks the result.
"""

from __future__ import annotations

import pytest

from tests.checker import Verdict, judge, rows_of
from tests.faults.shop import Command, Shop
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.sandbox.payment_service import insert_events


@pytest.mark.timeout(300)
def test_a_cut_over_that_is_killed_at_any_point_loses_no_event(scene, own_url, payctl_command):
    """After a killed cut-over, cut-back marks the sent events and drops the slot.

    The publisher then sends the remaining events once.
    """
    environment = {"DATABASE_URL": own_url, "KAFKA_BROKERS": scene.kafka.bootstrap}
    shop = Shop(scene.engine, payctl_command, environment)

    def begin(_number):
        with scene.engine.begin() as connection:
            insert_events(connection, 4, aggregates=2)
        return Command(("cdc", "cut-over", "-y", "--reason", "a test"))

    for number, _ in shop.points(begin):  # noqa: B007 - used after the loop
        if scene.slots():
            scene.cut_back()
        publish_outbox(scene.engine, scene.producer, PublishOptions())
        assert {row.state for row in rows_of(scene.engine)} == {"published"}
    assert judge(rows_of(scene.engine), scene.messages()) == Verdict()
    assert number > 20
