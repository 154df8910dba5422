"""Test that no event is lost, and no slot is forgotten, if a cut-over is killed after any SQL statement or send.

Each test then takes the outbox back from Debezium, publishes, and checks the result.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.checker import Verdict, judge, rows_of
from tests.faults.shop import Command, Shop
from ticketbottle_payctl.jobs.doctor import Status, Subject, diagnose
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.sandbox.payment_service import insert_events


@pytest.mark.timeout(300)
def test_a_cut_over_that_is_killed_at_any_point_loses_no_event(scene, own_url, payctl_command):
    """After a killed cut-over, cut-back marks the sent events and drops the slot.

    The publisher then sends the remaining events once. Before the cut-back, `payctl doctor` names the slot and the
    command that drops it, even if the cut-over was killed before its run was recorded. A forgotten slot would retain
    the write-ahead log.
    """
    environment = {"DATABASE_URL": own_url, "KAFKA_BROKERS": scene.kafka.bootstrap}
    shop = Shop(scene.engine, payctl_command, environment)

    def begin(_number):
        with scene.engine.begin() as connection:
            insert_events(connection, 4, aggregates=2)
        return Command(("cdc", "cut-over", "-y", "--reason", "a test"))

    subject = Subject(lambda: scene.engine, None, None, lambda _: {}, lambda: datetime.now(UTC))
    runs, without_run = 0, 0
    for number, _ in shop.points(begin):
        before, (runs,) = runs, scene.query("SELECT count(*) FROM payctl.runs")
        if scene.slots("NOT active"):
            without_run += runs == before
            finding = diagnose(subject, ["backlog"]).findings[0]
            assert finding.fact == "Debezium is publishing this outbox, but no connector reads its slot", number
            assert (finding.status, finding.command.verb) == (Status.FAIL, ("cdc", "cut-back")), number
            scene.cut_back()
        publish_outbox(scene.engine, scene.producer, PublishOptions())
        assert {row.state for row in rows_of(scene.engine)} == {"published"}
    assert judge(rows_of(scene.engine), scene.messages()) == Verdict()
    assert number > 20
    assert without_run
