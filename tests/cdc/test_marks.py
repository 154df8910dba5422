"""Test that payctl marks the events that it finds in Debezium's topics, and why a cut-over fails."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.follower import Seen
from ticketbottle_payctl.broker.producer import DeliveryFailure, Producer
from ticketbottle_payctl.domain.retry import Fault
from ticketbottle_payctl.errors import BrokerUnavailableError, ConfigError, GuardError
from ticketbottle_payctl.jobs.cdc.cut_over import _why, cdc_cut_over
from ticketbottle_payctl.jobs.cdc.mark import _mark
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox.debezium_names import PUBLICATION, UNROUTABLE

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_an_event_in_the_topic_of_unroutable_events_becomes_dead(engine):
    """An event in a payment topic is marked as published, and an unroutable event as dead. Each event counts once."""
    with engine.begin() as connection:
        insert_events(connection, 2)
        first, second = connection.exec_driver_sql("SELECT id FROM outbox ORDER BY id").scalars()
        sent, lost = Seen(first, "payment.completed", AT), Seen(second, UNROUTABLE, AT)
        assert _mark(connection, [sent], 5) == (1, 0)
        assert _mark(connection, [lost], 5) == (0, 1)
        assert _mark(connection, [sent, lost], 5) == (0, 0)
        states = 'SELECT published, "retryCount" FROM outbox ORDER BY id'
        assert connection.exec_driver_sql(states).all() == [(True, 0), (False, 5)]


def test_a_cut_over_names_the_event_types_whose_topic_is_missing(engine):
    """If topics are missing, the cut-over raises an error that names the event types of these topics."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE outbox WITH (publish = 'insert')")
    with MockKafka().start() as cluster:
        cluster.create_topic("payment.completed")
        producer = Producer(producer_config(KafkaSettings(cluster.bootstrap)))
        with pytest.raises(ConfigError, match="PAYMENT_CANCELLED, PAYMENT_FAILED"):
            cdc_cut_over(engine, producer, None, max_retries=5, shards=1, dry_run=True)
        producer.close()


TRANSPORT = DeliveryFailure(Fault.TRANSPORT, "_TRANSPORT", "no connection")
TOO_LARGE = DeliveryFailure(Fault.PERMANENT, "MSG_SIZE_TOO_LARGE", "too large")
REFUSED = "the brokers did not accept {}: MSG_SIZE_TOO_LARGE: too large"


@pytest.mark.parametrize(
    ("failures", "kind", "message"),
    [
        ([], None, None),
        ([TRANSPORT], BrokerUnavailableError, "no broker"),
        ([TRANSPORT, TOO_LARGE], BrokerUnavailableError, "no broker"),
        ([TOO_LARGE], GuardError, REFUSED.format("1 event")),
        ([TOO_LARGE, TRANSPORT], GuardError, REFUSED.format("2 events")),
    ],
)
def test_a_cut_over_says_if_the_brokers_are_unavailable_or_refused_an_event(failures, kind, message):
    """If events were not sent, the first failure decides whether payctl reports an outage or a refusal."""
    sender = SimpleNamespace(producer=SimpleNamespace(unavailable=lambda: BrokerUnavailableError("no broker")))
    found = _why(sender, {f"payment {number}": failure for number, failure in enumerate(failures)})
    assert (found and type(found), found and found.message) == (kind, message)
    assert ("`payctl publish-outbox -n`" in ((found and found.hint) or "")) is (kind is GuardError)
