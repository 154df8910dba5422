"""Test that the mock cluster returns what was sent, and has the outages and errors that a test injects."""

import pytest
from confluent_kafka import KafkaError, Producer

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.sandbox.mock_kafka import KafkaRequest, MockKafka
from ticketbottle_payctl.sandbox.server import wait_until

TOPIC = "payment.completed"


@pytest.fixture
def producer(mock_kafka):
    """Return a producer that reconnects quickly."""
    settings = {"acks": "all", "linger.ms": 0, "log_level": 0, "reconnect.backoff.max.ms": 100}
    return Producer({"bootstrap.servers": mock_kafka.bootstrap, **settings})


@pytest.fixture
def send(producer):
    """Return a function that sends a message and returns the list that will contain its delivery report."""

    def send(value=b"value", headers=None):
        reports = []
        producer.produce(
            TOPIC, key=b"key", value=value, headers=headers, on_delivery=lambda error, _: reports.append(error)
        )
        return reports

    return send


def delivered(producer, reports):
    """Wait for a message's delivery report and return its error, or None."""

    def report():
        producer.poll(0.01)
        return bool(reports)

    wait_until(report, what="a delivery report", timeout=15)
    return reports[0]


def test_the_mock_cluster_returns_what_was_sent(mock_kafka, producer, send, read_all):
    """The mock cluster returns a message with its key, value and headers, in the headers' order."""
    assert delivered(producer, send(b"hello", [("id", b"1"), ("eventId", b"1")])) is None
    (message,) = read_all(mock_kafka.bootstrap)
    assert (message.topic, message.key, message.value) == (TOPIC, b"key", b"hello")
    assert message.headers == (("id", b"1"), ("eventId", b"1"))


def test_a_mock_cluster_that_is_down_acknowledges_nothing(mock_kafka, producer, send, read_all):
    """A mock cluster that is down acknowledges nothing. When it is up again, it delivers the messages."""
    mock_kafka.down()
    reports = send()
    producer.flush(0.3)
    assert reports == []
    mock_kafka.up()
    assert delivered(producer, reports) is None
    assert len(read_all(mock_kafka.bootstrap)) == 1


@pytest.mark.parametrize(
    "error",
    [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_REQUIRED_ACKS],
)
def test_an_injected_error_reaches_the_delivery_report(mock_kafka, producer, send, error):
    """An injected permanent error is in the delivery report for the affected message."""
    mock_kafka.fail_next(error)
    assert delivered(producer, send()).code() == error


def test_an_injected_error_affects_one_request(mock_kafka, producer, send):
    """After a failed message, the mock cluster accepts the next message."""
    mock_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
    assert [delivered(producer, send()) is None for _ in range(2)] == [False, True]


def test_a_temporary_error_of_the_mock_cluster_is_retried(mock_kafka, producer, send, read_all):
    """The Kafka client retries after a temporary error and delivers the message once."""
    mock_kafka.fail_next(KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS)
    assert delivered(producer, send()) is None
    assert len(read_all(mock_kafka.bootstrap)) == 1


def test_injected_errors_can_be_removed(mock_kafka, producer, send):
    """After a test removes the injected errors, the mock cluster accepts the next message."""
    mock_kafka.fail_next(*[KafkaError.MSG_SIZE_TOO_LARGE] * 5)
    mock_kafka.fail_next(KafkaError.TOPIC_AUTHORIZATION_FAILED, request=KafkaRequest.METADATA)
    mock_kafka.forget_failures()
    assert delivered(producer, send()) is None


def test_using_a_mock_cluster_that_was_not_started_is_an_error():
    """A mock cluster that is not running raises UnavailableError. Otherwise, the C library would crash the process."""
    with pytest.raises(UnavailableError, match="not been started"):
        MockKafka().down()


def test_a_mock_cluster_can_be_closed_twice(mock_kafka):
    """Closing a mock cluster a second time has no effect."""
    cluster = MockKafka().start()
    cluster.close()
    cluster.close()
    assert mock_kafka.bootstrap.startswith("127.0.0.1:")
