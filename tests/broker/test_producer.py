from __future__ import annotations

import threading
import time

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
    """Producers on the mock cluster; ``config`` are librdkafka's words with ``_`` for ``.``."""
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
    """A message for each key."""
    return [Message(TOPIC, key, "{}", [("eventId", key)]) for key in keys]


def keys_in(mock_kafka, read_all):
    """The keys of everything in Kafka."""
    return sorted(message.key.decode() for message in read_all(mock_kafka.bootstrap))


def test_what_is_appended_is_not_among_the_failures(make, mock_kafka, read_all):
    """An empty answer means that every message lies in Kafka."""
    producer = make()
    assert producer.send(wave("a", "b", ""), 10) == {}
    assert producer.send([], 10) == {}
    assert keys_in(mock_kafka, read_all) == ["", "a", "b"]


@pytest.mark.parametrize("key", ["a", "", "đơn 💳"])
def test_a_failure_is_named_by_its_key(make, mock_kafka, key):
    """With whose fault it is, and the broker's class and words."""
    producer = make()
    mock_kafka.fail_next(KafkaError.INVALID_RECORD)
    failures = producer.send(wave(key), 10)
    assert failures == {key: (Fault.PERMANENT, "INVALID_RECORD", failures[key].reason)}
    assert producer.send(wave(key), 10) == {}


def test_a_message_that_the_client_refuses_does_not_keep_the_others(make, mock_kafka, read_all):
    """Too large is known before anything is sent."""
    failures = make().send([*wave("a"), Message(TOPIC, "large", "x" * 2_000_000, []), *wave("b")], 10)
    assert {key: failure.code for key, failure in failures.items()} == {"large": "MSG_SIZE_TOO_LARGE"}
    assert keys_in(mock_kafka, read_all) == ["a", "b"]


def test_a_broker_that_hangs_costs_the_time_that_was_given(make, mock_kafka):
    """Then everything unresolved has failed, uncharged; a new client goes on when the broker does."""
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


def test_a_stop_shortens_the_wait(make, mock_kafka, monkeypatch):
    """A little patience for what is on its way, then it is given up."""
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
    """What waits in the client for its broker is given up, so that the broker does not get it when it is back."""
    producer = make()
    producer.send(wave("before"), 10)
    mock_kafka.down()
    looks = iter([False, False])  # before anything is sent, and once while it is waited for
    began = time.monotonic()
    assert set(producer.send(wave("a", "b"), 60, lost=lambda: next(looks, True))) == {"a", "b"}
    assert time.monotonic() - began < 5
    mock_kafka.up()
    assert producer.send(wave("after"), 10) == {}
    assert keys_in(mock_kafka, read_all) == ["after", "before"]


def test_nothing_is_sent_of_a_claim_that_is_lost(make, mock_kafka, read_all):
    """It is looked at before the first message."""
    producer = make()
    failures = producer.send(wave("a"), 10, lost=lambda: True)
    assert {key: failure.fault for key, failure in failures.items()} == {"a": Fault.TRANSPORT}
    assert producer.send(wave("b"), 10) == {}
    assert keys_in(mock_kafka, read_all) == ["b"]


def test_what_is_delivered_at_once_is_not_waited_for_in_steps(make):
    """Nobody asks again whether the claim is still there."""

    class Quick(Client):
        def flush(self, _step):
            return super().flush(10)

    producer = make(new_client=Quick)
    looks = []
    assert producer.send(wave("a"), 10, lost=lambda: bool(looks.append(1))) == {}
    assert len(looks) == 1


@pytest.mark.parametrize("reason", ["stopping", "lost"])
def test_a_full_queue_is_not_waited_for_once_it_is_to_end(make, mock_kafka, monkeypatch, reason):
    """A stop and a lost claim are heard there too."""
    monkeypatch.setattr("ticketbottle_payctl.broker.producer._STOP_PATIENCE", 0.5)
    producer = make(queue_buffering_max_messages=2)
    producer.send(wave("before"), 10)
    mock_kafka.down()
    looks = iter([False, False])
    began = time.monotonic()
    failures = producer.send(wave("a", "b", "c", "d"), 60, **{reason: lambda: next(looks, True)})
    assert set(failures) == {"a", "b", "c", "d"}
    assert time.monotonic() - began < 6


def test_a_full_queue_is_waited_for(make, mock_kafka, read_all):
    """Many more messages than the client holds at once."""
    producer = make(queue_buffering_max_messages=10, linger_ms=0)
    keys = [f"{number:03}" for number in range(200)]
    assert producer.send(wave(*keys), 20) == {}
    assert keys_in(mock_kafka, read_all) == keys


def test_a_queue_that_stays_full_fails_uncharged(make, mock_kafka):
    """The broker is away: no message is lost sight of."""
    producer = make(queue_buffering_max_messages=2)
    mock_kafka.down()
    failures = producer.send(wave("a", "b", "c", "d"), 0.3)
    assert set(failures) == {"a", "b", "c", "d"}
    assert {failure.fault for failure in failures.values()} == {Fault.TRANSPORT}


class Deaf(Client):
    """A client that does not say what became of its messages, not even after a purge."""

    def flush(self, *_):
        """Nothing is ever resolved."""
        return 1


def test_what_stays_unresolved_has_failed(make):
    """No report is no acknowledgement."""
    failures = make(new_client=Deaf).send(wave("a", "b"), 0.1)
    assert {key: failure.fault for key, failure in failures.items()} == dict.fromkeys("ab", Fault.TRANSPORT)


@pytest.mark.parametrize("raised", [KafkaException(KafkaError(FATAL)), SystemError("with an exception set")])
def test_a_client_that_dies_is_replaced_and_the_wave_sent_again(make, mock_kafka, read_all, raised):
    """However the fatal error comes out of the client; what it had may come twice."""
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


def test_a_probe_names_the_types_that_cannot_flow(make, mock_kafka):
    """And forgets it when the topic is well again."""
    producer = make()
    assert producer.probe(5) == {}
    mock_kafka.fail_topic("payment.failed", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    stopped = producer.probe(5)
    assert {name: failure.fault for name, failure in stopped.items()} == {"PAYMENT_FAILED": Fault.CONFIGURATION}
    mock_kafka.fail_topic("payment.failed", 0)
    assert producer.probe(5) == {}


def test_a_topic_without_a_leader_is_not_stopped(make, mock_kafka):
    """That passes by itself and is nobody's fault."""
    mock_kafka.fail_topic("payment.failed", KafkaError.LEADER_NOT_AVAILABLE)
    assert make().probe(5) == {}


def test_a_probe_of_nobody_ends_in_time_and_says_where_it_looked(make, mock_kafka):
    """The message names the brokers, and no credentials."""
    mock_kafka.down()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError) as caught:
        make().probe(0.6)
    assert time.monotonic() - began < 3
    assert mock_kafka.bootstrap in caught.value.message


def test_a_stop_ends_a_probe(make, mock_kafka):
    """Within a few seconds."""
    mock_kafka.down()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError):
        make().probe(60, lambda: True)
    assert time.monotonic() - began < 4


def test_settings_that_the_client_does_not_accept(make):
    """One error of ours that names what is wrong."""
    with pytest.raises(ConfigError, match="settings"):
        make(no_such_thing="1").probe(1)


def test_closing_is_quick_and_can_be_undone(make, mock_kafka):
    """Also with the broker away; the next call makes a new client."""
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
