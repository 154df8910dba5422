import pytest
from confluent_kafka import KafkaError, Producer

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka, Request
from ticketbottle_payctl.sandbox.server import wait_until

TOPIC = "payment.completed"


@pytest.fixture
def producer(mock_kafka):
    """A producer that soon notices when brokers are back."""
    settings = {"acks": "all", "linger.ms": 0, "log_level": 0, "reconnect.backoff.max.ms": 100}
    return Producer({"bootstrap.servers": mock_kafka.bootstrap, **settings})


@pytest.fixture
def send(producer):
    """Send one message and return the list in which its delivery report will be."""

    def send(value=b"value", headers=None):
        reports = []
        producer.produce(
            TOPIC, key=b"key", value=value, headers=headers, on_delivery=lambda error, _: reports.append(error)
        )
        return reports

    return send


def delivered(producer, reports):
    """The error of a message's delivery report once it is there, None where it was delivered."""

    def report():
        producer.poll(0.01)
        return bool(reports)

    wait_until(report, what="a delivery report", timeout=15)
    return reports[0]


def test_what_is_sent_can_be_read(mock_kafka, producer, send, read_all):
    """A message is read back with its key, value and headers in their order."""
    assert delivered(producer, send(b"hello", [("id", b"1"), ("eventId", b"1")])) is None
    (message,) = read_all(mock_kafka.bootstrap)
    assert (message.topic, message.key, message.value) == (TOPIC, b"key", b"hello")
    assert message.headers == (("id", b"1"), ("eventId", b"1"))


def test_nothing_is_acknowledged_while_it_is_down(mock_kafka, producer, send, read_all):
    """A cluster that is away acknowledges nothing; what waited is delivered once it is back."""
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
    """A permanent error is reported for the message it met."""
    mock_kafka.fail_next(error)
    assert delivered(producer, send()).code() == error


def test_an_injected_error_meets_one_request(mock_kafka, producer, send):
    """The message after the one that failed is delivered."""
    mock_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
    assert [delivered(producer, send()) is None for _ in range(2)] == [False, True]


def test_a_passing_error_is_tried_again(mock_kafka, producer, send, read_all):
    """An error that may pass is retried by the client until it has, without a duplicate."""
    mock_kafka.fail_next(KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS)
    assert delivered(producer, send()) is None
    assert len(read_all(mock_kafka.bootstrap)) == 1


def test_failures_can_be_taken_back(mock_kafka, producer, send):
    """What was injected and has not happened yet does not happen any more."""
    mock_kafka.fail_next(*[KafkaError.MSG_SIZE_TOO_LARGE] * 5)
    mock_kafka.fail_next(KafkaError.TOPIC_AUTHORIZATION_FAILED, request=Request.METADATA)
    mock_kafka.forget_failures()
    assert delivered(producer, send()) is None


def test_a_cluster_that_was_not_started_says_so():
    """A cluster that was not started answers with an error of ours instead of crashing the process."""
    with pytest.raises(UnavailableError, match="not been started"):
        MockKafka().down()


def test_closing_twice_is_harmless(mock_kafka):
    """A closed cluster can be closed again."""
    cluster = MockKafka().start()
    cluster.close()
    cluster.close()
    assert mock_kafka.bootstrap.startswith("127.0.0.1:")
