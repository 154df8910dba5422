"""Test a publisher that cannot renew its session after its password was changed."""

from __future__ import annotations

from threading import Thread

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, OLD
from tests.jobs.publish_outbox.outages import (
    BATCH,
    NO_HARM,
    a_loop,
    drained,
    harm,
    payctl,
    published,
    states,
    until,
)
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.cli.commands.publish_outbox.result import result_of
from ticketbottle_payctl.errors import BrokerRefusedError
from ticketbottle_payctl.jobs.publish_outbox import Observer
from ticketbottle_payctl.settings import Settings

MECHANISM = "scram-sha-512"


@pytest.fixture
def change_password(kafka):
    """Yield a function that changes the password. The old password is restored after the test."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})

    def change(password):
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(kafka.username, info, password.encode())
        admin.alter_user_scram_credentials([change])[kafka.username].result(10)

    yield change
    change(kafka.password)


@pytest.fixture
def producer(kafka):
    """Yield a producer that has the old password and gives up on a message after 1.5 seconds."""
    producer = Producer(producer_config(Settings.from_env(kafka.environment(MECHANISM)).kafka, 1500))
    yield producer
    producer.close()


def test_a_loop_waits_while_its_password_is_refused(kafka_outbox, kafka, producer, change_password, database_url):
    """While the brokers refuse the password, a loop waits, a run exits with code 3, and no retry is used up."""
    outbox, heard = kafka_outbox, []
    outbox.insert(40, event_type=FAILED, aggregates=20)
    with a_loop(outbox, producer=producer, observer=Observer(on_wait=lambda error, _: heard.append(error))):
        published(outbox, 40)
        change_password("another one")
        until(lambda: outbox.insert(2, event_type=COMPLETED) or heard)
        assert {type(error) for error in heard} == {BrokerRefusedError}
        before = outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id")
        code, document, said = payctl(database_url, kafka.environment(MECHANISM), "publish-outbox")
        assert (code, document["counts"]["claimed"]) == (3, 0), said
        assert "refused the credentials" in said
        assert outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id") == before
        assert "pending" in outbox.states()
        assert {(count, error) for _, count, error in states(outbox)} == {(0, None)}
        change_password(kafka.password)
        drained(outbox)
    assert states(outbox) == {("published", 0, None)}
    assert harm(outbox.verdict()) == NO_HARM
    assert sum(outbox.verdict().duplicates.values()) <= BATCH


def test_a_single_run_whose_password_is_refused_keeps_what_is_acknowledged(kafka_outbox, producer, change_password):
    """If the brokers refuse the password during a run, acknowledged events stay published and others stay pending."""
    outbox, reports = kafka_outbox, []
    outbox.insert(400, age=OLD)
    thread = Thread(target=lambda: reports.append(outbox.publish(producer=producer, rate=40.0)))
    thread.start()
    published(outbox, 10)
    change_password("another one")
    thread.join(30)
    (report,) = reports
    assert isinstance(report.failure, BrokerRefusedError)
    assert result_of(report, loop=False).exit_code == 3
    assert 0 < outbox.states().count("published") == report.counts.published < 400
    assert states(outbox) == {("published", 0, None), ("pending", 0, None)}
    assert harm(outbox.verdict()) == NO_HARM
