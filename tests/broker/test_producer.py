"""Test with a mock cluster that the Kafka producer ends in time and reports each message that was not delivered."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import Message
from ticketbottle_payctl.domain.retry import Fault
from ticketbottle_payctl.errors import BrokerUnavailableError, ConfigError
from ticketbottle_payctl.settings import KafkaSettings

TOPIC = "payment.completed"
FATAL = KafkaError._FATAL  # noqa: SLF001 - the client's own name


@pytest.fixture
def make(mock_kafka):
    """Yield a function that makes producers for the mock cluster.

    In the keyword names, ``_`` stands for the dot in librdkafka's setting names.
    """
    made = []

    def new(bootstrap=None, **config):
        new_client = config.pop("new_client", Client)
        words = {name.replace("_", "."): value for name, value in config.items()}
        settings = producer_config(KafkaSettings(bootstrap or mock_kafka.bootstrap)) | words
        made.append(Producer(settings, new_client=new_client))
        return made[-1]

    yield new
    for producer in made:
        producer.close()


def wave(*keys):
    """Return one message for each key."""
    return [Message(TOPIC, key, "{}", [("eventId", key)]) for key in keys]


def keys_in(mock_kafka, read_all):
    """Return the sorted keys of all messages in Kafka."""
    return sorted(message.key.decode() for message in read_all(mock_kafka.bootstrap))


def test_sending_returns_no_failures_if_kafka_has_every_message(make, mock_kafka, read_all):
    """`send` returns an empty result only if Kafka has appended every message."""
    producer = make()
    assert producer.send(wave("a", "b", ""), 10) == {}
    assert producer.send([], 10) == {}
    assert keys_in(mock_kafka, read_all) == ["", "a", "b"]


@pytest.mark.parametrize("key", ["a", "", "đơn 💳"])
def test_a_failure_has_the_message_key_and_its_fault(make, mock_kafka, key):
    """A failure report contains the message's key, the kind of fault, the broker's error code and the reason."""
    producer = make()
    mock_kafka.fail_next(KafkaError.INVALID_RECORD)
    failures = producer.send(wave(key), 10)
    assert failures == {key: (Fault.PERMANENT, "INVALID_RECORD", failures[key].reason)}
    assert producer.send(wave(key), 10) == {}


def test_a_message_that_the_client_refuses_does_not_stop_the_others(make, mock_kafka, read_all):
    """The Kafka client refuses a message that is too large.

    The producer reports the refused message and delivers the rest.
    """
    failures = make().send([*wave("a"), Message(TOPIC, "large", "x" * 2_000_000, []), *wave("b")], 10)
    assert {key: failure.code for key, failure in failures.items()} == {"large": "MSG_SIZE_TOO_LARGE"}
    assert keys_in(mock_kafka, read_all) == ["a", "b"]


def test_sending_to_a_hanging_broker_ends_at_the_timeout(make, mock_kafka):
    """If the broker hangs, `send` ends at the timeout.

    All messages without a delivery report fail with a transport fault. After the broker recovers, a new client works.
    """
    producer = make()
    producer.send(wave("before"), 10)
    mock_kafka.set_rtt(60_000)
    began = time.monotonic()
    failures = producer.send(wave("a", "b"), 0.5)
    assert 0.5 <= time.monotonic() - began < 5
    assert {failure.fault for failure in failures.values()} == {Fault.TRANSPORT}
    assert set(failures) == {"a", "b"}
    mock_kafka.set_rtt(0)
    assert producer.send(wave("after"), 10) == {}


def test_a_stop_ends_the_wait_for_acknowledgements(make, mock_kafka, monkeypatch):
    """After a stop, `send` waits briefly for the messages in flight.

    Then `send` reports these messages as not delivered.
    """
    monkeypatch.setattr("ticketbottle_payctl.broker.producer._STOP_PATIENCE", 0.5)
    producer = make()
    producer.send(wave("before"), 10)
    mock_kafka.down()
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    assert set(producer.send(wave("a"), 60, stop.is_set)) == {"a"}
    assert time.monotonic() - began < 5


def test_a_lost_claim_ends_the_wait_and_nothing_is_sent_later(make, mock_kafka, read_all):
    """If the claim is lost, the producer drops the queued messages, and the broker never gets them."""
    producer = make()
    producer.send(wave("before"), 10)
    mock_kafka.down()
    looks = iter([False, False, False])  # two checks before sending, and a third one during the wait
    began = time.monotonic()
    assert set(producer.send(wave("a", "b"), 60, lost=lambda: next(looks, True))) == {"a", "b"}
    assert time.monotonic() - began < 5
    mock_kafka.up()
    assert producer.send(wave("after"), 10) == {}
    assert keys_in(mock_kafka, read_all) == ["after", "before"]


def test_nothing_is_sent_if_the_claim_is_already_lost(make, mock_kafka, read_all):
    """`send` checks the claim first. If the claim is already lost, `send` sends nothing."""
    producer = make()
    failures = producer.send(wave("a"), 10, lost=lambda: True)
    assert {key: failure.fault for key, failure in failures.items()} == {"a": Fault.TRANSPORT}
    assert producer.send(wave("b"), 10) == {}
    assert keys_in(mock_kafka, read_all) == ["b"]


def test_a_claim_that_is_lost_while_messages_are_queued_lets_none_of_them_leave(make, mock_kafka, read_all):
    """A publisher that lost its claim while frozen sends none of its queued messages when it resumes."""
    producer = make()
    producer.send(wave("before"), 10)
    # For some microseconds after a flush, the client's thread may still send queued messages at once. A publisher
    # commits its last batch during this time.
    time.sleep(0.2)
    checks = count()

    def lost():
        if next(checks) == 0:
            return False
        time.sleep(1)  # in this time, the client's threads could send the messages
        return True

    failures = producer.send(wave("a", "b"), 10, lost=lost)
    assert {key: failure.fault for key, failure in failures.items()} == {"a": Fault.TRANSPORT, "b": Fault.TRANSPORT}
    assert producer.send(wave("after"), 10) == {}
    assert keys_in(mock_kafka, read_all) == ["after", "before"]


def test_a_quick_delivery_checks_the_claim_twice(make):
    """`send` checks the claim before it queues the messages and again before it sends them.

    If Kafka acknowledges all messages at once, `send` does not check a third time.
    """

    class Quick(Client):
        def flush(self, _step):
            return super().flush(10)

    producer = make(new_client=Quick)
    looks = []
    assert producer.send(wave("a"), 10, lost=lambda: bool(looks.append(1))) == {}
    assert len(looks) == 2


@pytest.mark.parametrize("reason", ["stopping", "lost"])
def test_a_stop_or_a_lost_claim_ends_the_wait_for_a_full_queue(make, mock_kafka, monkeypatch, reason):
    """If the client's queue is full, a stop or a lost claim makes the producer discard all waiting messages."""
    monkeypatch.setattr("ticketbottle_payctl.broker.producer._STOP_PATIENCE", 0.5)
    producer = make(queue_buffering_max_messages=2)
    producer.send(wave("before"), 10)
    mock_kafka.down()
    looks = iter([False, False])
    began = time.monotonic()
    failures = producer.send(wave("a", "b", "c", "d"), 60, **{reason: lambda: next(looks, True)})
    assert set(failures) == {"a", "b", "c", "d"}
    assert time.monotonic() - began < 6


def test_sending_waits_for_space_in_the_client_s_queue(make, mock_kafka, read_all):
    """The producer delivers 200 messages even if the Kafka client's queue holds only 10."""
    producer = make(queue_buffering_max_messages=10, linger_ms=0)
    keys = [f"{number:03}" for number in range(200)]
    assert producer.send(wave(*keys), 20) == {}
    assert keys_in(mock_kafka, read_all) == keys


def test_a_queue_that_stays_full_is_a_transport_fault(make, mock_kafka):
    """If the broker is down and the queue stays full, every message fails with a fault that does not use up a retry."""
    producer = make(queue_buffering_max_messages=2)
    mock_kafka.down()
    failures = producer.send(wave("a", "b", "c", "d"), 0.3)
    assert set(failures) == {"a", "b", "c", "d"}
    assert {failure.fault for failure in failures.values()} == {Fault.TRANSPORT}


class Deaf(Client):
    """A Kafka client that never reports a message's result, even after a purge."""

    def flush(self, *_):
        """Return 1, the number of messages without a result."""
        return 1


def test_a_message_without_a_report_has_failed(make):
    """A Kafka message without a delivery report counts as failed."""
    failures = make(new_client=Deaf).send(wave("a", "b"), 0.1)
    assert {key: failure.fault for key, failure in failures.items()} == dict.fromkeys("ab", Fault.TRANSPORT)


@pytest.mark.parametrize("raised", [KafkaException(KafkaError(FATAL)), SystemError("with an exception set")])
def test_a_new_client_sends_all_messages_again_after_a_fatal_error(make, mock_kafka, read_all, raised):
    """After a fatal error, a new Kafka client sends all messages again, so some messages can arrive twice."""
    born = []

    class Mortal(Client):
        def flush(self, *arguments):
            left = super().flush(*arguments)
            if len(born) == 1:
                raise raised
            return left

    def new_client(*arguments, **named):
        born.append(Mortal(*arguments, **named))
        return born[-1]

    assert make(new_client=new_client).send(wave("a", "b"), 10) == {}
    assert len(born) == 2
    assert set(keys_in(mock_kafka, read_all)) == {"a", "b"}


def test_a_probe_names_the_event_types_that_cannot_be_sent(make, mock_kafka):
    """A probe names the event types whose topics cannot be used. If all topics work, it names no type."""
    producer = make()
    assert producer.probe(5) == {}
    mock_kafka.fail_topic("payment.failed", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    stopped = producer.probe(5)
    assert {name: failure.fault for name, failure in stopped.items()} == {"PAYMENT_FAILED": Fault.CONFIGURATION}
    mock_kafka.fail_topic("payment.failed", 0)
    assert producer.probe(5) == {}


def test_messages_are_sent_as_soon_as_a_probe_finds_their_topic_again(make, mock_kafka, read_all):
    """After a missing topic is back, a Kafka client refuses its messages for seconds, so payctl replaces the client."""
    producer = make(topic_metadata_propagation_max_ms=1)
    assert producer.send(wave("a"), 10) == {}
    mock_kafka.fail_topic(TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert list(producer.probe(5)) == ["PAYMENT_COMPLETED"]
    mock_kafka.fail_topic(TOPIC, 0)
    assert producer.probe(5) == {}
    assert producer.send(wave("b"), 10) == {}
    assert keys_in(mock_kafka, read_all) == ["a", "b"]


def test_a_probe_accepts_a_topic_without_a_leader(make, mock_kafka):
    """A probe does not report a topic without a leader as a fault, because that state is temporary."""
    mock_kafka.fail_topic("payment.failed", KafkaError.LEADER_NOT_AVAILABLE)
    assert make().probe(5) == {}


def test_a_probe_without_a_broker_ends_in_time_and_names_the_address(make, mock_kafka):
    """Without a broker, a probe ends within its time limit. The probe's error shows the brokers' address."""
    mock_kafka.down()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError) as caught:
        make().probe(0.6)
    assert time.monotonic() - began < 3
    assert mock_kafka.bootstrap in caught.value.message


def test_a_stop_ends_a_probe(make, mock_kafka):
    """A probe ends within 4 seconds after a stop."""
    mock_kafka.down()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError):
        make().probe(60, lambda: True)
    assert time.monotonic() - began < 4


def test_a_setting_that_the_client_rejects_is_a_config_error(make):
    """An unknown librdkafka setting raises ConfigError."""
    with pytest.raises(ConfigError, match="settings"):
        make(no_such_thing="1").probe(1)


def test_a_producer_closes_quickly_and_can_be_used_again(make, mock_kafka):
    """Closing a producer does not wait for a broker that is down. The next call creates a new client."""
    producer = make()
    producer.close()
    producer.send(wave("a"), 10)
    mock_kafka.down()
    began = time.monotonic()
    producer.close()
    producer.close()
    assert time.monotonic() - began < 2
    mock_kafka.up()
    assert producer.send(wave("b"), 10) == {}
