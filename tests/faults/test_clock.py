"""Test that payctl uses the database's clock if the machine's clock is a day off, jumps, or is in another time zone."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.checker import Verdict, judge, rows_of
from tests.checker.payments import states_of
from tests.faults.shop import Command, Shop
from tests.servers.faketime import FakeClock
from tests.servers.fork_server import ForkServer
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.sandbox.callbacks import callback
from ticketbottle_payctl.sandbox.kafka_messages import read_all
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.sandbox.server import wait_until

TOPICS = ("payment.completed", "payment.failed", "payment.cancelled")
ANSWER = ("-y", "--reason", "a test", "-o", "json")
VIETNAM = timezone(timedelta(hours=7))
CLOCKS = [("+1d", "UTC"), ("-1d", "Asia/Ho_Chi_Minh"), ("@2026-11-01 01:59:59", "America/New_York")]
"""Pairs of an offset of the machine's clock and a time zone.

The last entry is one second before New York's clocks go back an hour.
"""

FARTHEST = """
    SELECT extract(epoch FROM max(greatest(now - at, at - now))) FROM (
        SELECT "createdAt" AS at FROM outbox WHERE "aggregateId" IN (SELECT id FROM payments)
        UNION ALL SELECT "updatedAt" FROM payments WHERE status <> 'PENDING'
        UNION ALL SELECT received_at AT TIME ZONE 'UTC' FROM payctl.webhook_receipts) AS written,
        (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now) AS n
"""


@pytest.fixture
def clock(made, tmp_path):
    """Return a fake clock for payctl's processes."""
    return made(lambda: FakeClock(tmp_path / "clock"))


@pytest.fixture
def elsewhere(shop, clock, tmp_path, monkeypatch):
    """Yield a shop whose payctl processes run with the fake clock."""
    with monkeypatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        server = ForkServer(tmp_path).__enter__()
    try:
        yield Shop(shop.engine, server.command, {**shop.environment, **clock.environment})
    finally:
        server.__exit__()


class DatedGateways(Gateways):
    """The state of all gateways, and the dates that payctl sends to VNPay."""

    dates: list[str]

    def vnpay(self, body):
        """Record the date, then answer the query."""
        self.dates = [*getattr(self, "dates", []), body["vnp_CreateDate"]]
        return super().vnpay(body)


@pytest.mark.parametrize(("offset", "zone"), CLOCKS)
def test_a_wrong_clock_changes_no_instant_and_no_decision(elsewhere, clock, offset, zone):
    """Even with a wrong local clock, payctl takes the times of events, receipts, ages and queries from the database."""
    shop = elsewhere
    shop.environment = {**shop.environment, "TZ": zone}
    clock.set(offset)

    def ask(*words, stdin=b""):
        done = shop.run(Command(words, stdin))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    said = shop.run(Command(("version",)))
    assert said.returncode == 0
    with shop.engine.begin() as connection:
        payment = insert_payment(connection)
    ask("process-webhook", "-", "--provider", "zalopay", "-o", "json", stdin=callback(payment).body)
    assert shop.query(FARTHEST)[0] < 60

    with shop.engine.begin() as connection:
        insert_events(connection, 2, state="published", age=timedelta(days=7, hours=2))
        insert_events(connection, 3, state="published", age=timedelta(days=6, hours=22))
        insert_events(connection, 4, age=timedelta(minutes=30))
        insert_events(connection, 5, age=timedelta(hours=2))
    assert ask("cleanup", *ANSWER)["counts"]["deleted"] == 2
    assert ask("replay", "--stuck", "--age", "1h", "-n", "-o", "json")["counts"]["matched"] == 5
    assert ask("replay", "--all", "--since", "1h", "-n", "-o", "json")["counts"]["matched"] == 1 + 4
    assert ask("list", "outbox", "--since", "1h", "--until", "10m ago", "-o", "json")["counts"]["listed"] == 4
    assert sum(ask("stats", "--since", "3h", "-o", "json")["result"]["history"]["created"]) == 1 + 4 + 5
    figures = {item["name"]: item["value"] for item in ask("report", "--since", "1h", "-o", "json")["items"]}
    assert figures["created"] == 1 + 4
    shown = json.loads(shop.run(Command(("show", payment.order_code, "-o", "json"))).stdout)
    assert shown["result"]["verdict"]["kind"] == "waiting"
    age = ask("stats", "-o", "json")["result"]["oldest_pending_age_s"]
    assert 7200 <= age < 7300

    with shop.engine.begin() as connection:
        open_ = insert_payment(connection, provider="ZALOPAY", reference="z", age=timedelta(minutes=20))
        paid = insert_payment(connection, provider="VNPAY", reference="v", age=timedelta(minutes=20))
    with serving(DatedGateways(states={"z": "abandoned", "v": "paid"})) as gateways:
        shop.environment = {**shop.environment, **gateways.environment}
        ask("reconcile", "payments", "--older-than", "5m", "--rate", "1000/s", *ANSWER)
    found = states_of(shop.engine)
    assert (found[open_.id], found[paid.id]) == ("PENDING", "COMPLETED")
    (asked,) = gateways.dates
    instant = datetime.strptime(asked, "%Y%m%d%H%M%S").replace(tzinfo=VIETNAM)
    assert abs(datetime.now(UTC) - instant) < timedelta(minutes=2)
    assert shop.query(FARTHEST)[0] < 60


def test_a_publisher_survives_every_jump_of_its_clock(elsewhere, clock, mock_kafka):
    """A publisher still sends each event after the machine's clock jumps back or ahead by a day."""
    shop = elsewhere
    environment = {**shop.environment, "KAFKA_BROKERS": mock_kafka.bootstrap}
    publisher = subprocess.Popen(
        [*shop.command, "publish-outbox", "--loop"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        for offset in ("+0", "-1d", "+1d", "-3600", "+0"):
            clock.set(offset)
            with shop.engine.begin() as connection:
                insert_events(connection, 4, aggregates=2)
            wait_until(
                lambda: not shop.query("SELECT count(*) FROM outbox WHERE NOT published")[0],
                what=f"the events are published with the clock at {offset}",
                timeout=30,
                pause=0.05,
            )
        publisher.send_signal(signal.SIGTERM)
        said, _ = publisher.communicate(timeout=30)
    finally:
        publisher.kill()
        publisher.wait()
    assert publisher.returncode == 143, said
    rows = rows_of(shop.engine)
    assert judge(rows, read_all(mock_kafka.bootstrap, TOPICS)) == Verdict()
    late = """SELECT count(*) FROM outbox WHERE "publishedAt" NOT BETWEEN "createdAt" - interval '1 s'
              AND clock_timestamp() AT TIME ZONE 'UTC' """
    assert shop.query(late) == [0]
