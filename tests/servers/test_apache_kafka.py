"""Test that the tests' Apache Kafka broker checks logins, survives a crash and can be paused."""

import os
import signal
import subprocess
import sys

import pytest
from confluent_kafka import KafkaError, Producer

from ticketbottle_payctl.sandbox.server import wait_until

TOPIC = "payment.completed"


def report_of(settings, *, timeout=60.0):
    """Send one message. Return its delivery error or None, and the error codes that the Kafka client reported."""
    reports, complaints = [], set()
    producer = Producer({"log_level": 0, **settings, "error_cb": lambda error: complaints.add(error.code())})
    producer.produce(TOPIC, b"value", on_delivery=lambda error, _: reports.append(error))

    def reported():
        producer.poll(0.05)
        return bool(reports)

    wait_until(reported, what="a delivery report", timeout=timeout)
    return reports[0], complaints


def sasl(kafka, mechanism, **changed):
    """Return client settings for the listener with SASL and TLS."""
    return {
        "bootstrap.servers": kafka.secure_bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": kafka.username,
        "sasl.password": kafka.password,
        "ssl.ca.location": kafka.ca_file,
        **changed,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_apache_kafka_accepts_each_login_mechanism(kafka, mechanism):
    """With the right password, the broker accepts a message over TLS with each SASL mechanism.

    The client trusts only the broker's authority.
    """
    assert report_of(sasl(kafka, mechanism)) == (None, set())


def test_apache_kafka_accepts_tls_without_a_password(kafka):
    """A Kafka client can use the TLS listener without a user name or password."""
    tls = {"security.protocol": "SSL", "ssl.ca.location": kafka.ca_file}
    assert report_of({"bootstrap.servers": kafka.ssl_bootstrap, **tls}) == (None, set())


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"sasl.password": "wrong"}, KafkaError._AUTHENTICATION),  # noqa: SLF001 - the client's name of a local error
        ({"ssl.ca.location": "stranger"}, KafkaError._SSL),  # noqa: SLF001
    ],
)
def test_a_wrong_password_and_a_wrong_authority_have_different_errors(kafka, changed, complaint):
    """The Kafka client's error callback distinguishes a wrong password from a wrong authority.

    The delivery report contains only a timeout.
    """
    if "ssl.ca.location" in changed:
        changed = {"ssl.ca.location": str(kafka.certificates.stranger_ca)}
    error, complaints = report_of(sasl(kafka, "SCRAM-SHA-256", **changed, **{"message.timeout.ms": 1000}))
    assert error.code() == KafkaError._MSG_TIMED_OUT  # noqa: SLF001
    assert complaint in complaints


def test_a_crash_of_apache_kafka_loses_no_acknowledged_message(kafka, read_all):
    """After the broker is killed and restarted, it still has every acknowledged message."""
    assert report_of({"bootstrap.servers": kafka.bootstrap, "acks": "all"})[0] is None
    kafka.kill()
    kafka.restart()
    assert [message.value for message in read_all(kafka.bootstrap)] == [b"value"]


def test_a_paused_apache_kafka_acknowledges_nothing(kafka, read_all):
    """A message that is sent to a paused broker times out and never reaches Kafka."""
    kafka.pause()
    error, _ = report_of({"bootstrap.servers": kafka.bootstrap, "message.timeout.ms": 500})
    kafka.resume()
    assert error.code() == KafkaError._MSG_TIMED_OUT  # noqa: SLF001
    assert read_all(kafka.bootstrap) == []


@pytest.mark.kafka
@pytest.mark.usefixtures("kafka_server")
def test_make_kafka_prints_the_line_to_export():
    """``make kafka`` prints one line with the variables to export, runs until SIGTERM, and exits with code 0."""
    command = [sys.executable, "-m", "tests.servers.apache_kafka"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        error, _ = report_of({"bootstrap.servers": line.strip().removeprefix("export KAFKA_BROKERS=")})
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
    assert (error, process.returncode) == (None, 0)
    assert "Ctrl-C" in said


@pytest.mark.parametrize(("ci", "code", "words"), [("", 0, "1 skipped"), ("true", 1, "1 error")])
def test_a_missing_java_is_a_skip_at_home_and_an_error_in_ci(ci, code, words, tmp_path):
    """Without Java, a Kafka test names the missing program.

    The test is skipped on a developer's machine and fails in CI.
    """
    here = os.path.relpath(__file__)
    command = [sys.executable, "-m", "pytest", f"{here}::test_apache_kafka_accepts_tls_without_a_password"]
    bare = {"PATH": str(tmp_path), "CI": ci, "HOME": str(tmp_path)}
    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, words in done.stdout) == (code, True), done.stdout
    assert "install Java 17 or newer and Maven" in done.stdout
