"""Test that payctl connects to a real Kafka broker over TLS and SASL, and names the cause of each refusal."""

import logging
import os
import subprocess
import time
from contextlib import contextmanager
from socket import create_connection, create_server
from threading import Thread

import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.cli.output.exit_codes import ExitCode, of_error
from ticketbottle_payctl.domain.event import Message
from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError, PayctlError
from ticketbottle_payctl.settings import Settings

MECHANISMS = ("plain", "scram-sha-256", "scram-sha-512")
PROBE_SECONDS = 3.0
SHORT_PROBE_SECONDS = 1.5
"""The time limit, in seconds, for a probe that ends only at this limit, because no broker refuses the probe."""
WRONG_PASSWORD = "not-the-one-canary"  # pragma: allowlist secret


def producer_of(environment):
    """Return the producer that payctl creates if only these environment variables are set."""
    return Producer(producer_config(Settings.from_env(environment).kafka))


def outcome(environment, stopping=lambda: False, within=PROBE_SECONDS):
    """Probe the brokers and send one message. Return the error (or None) and the duration in seconds."""
    producer, began = producer_of(environment), time.monotonic()
    try:
        producer.probe(within, stopping)
        failures = producer.send([Message("payment.completed", "key", "value", [])], timeout=20)
    except PayctlError as error:
        return error, time.monotonic() - began
    finally:
        producer.close()
    assert failures == {}
    return None, time.monotonic() - began


def tls(kafka, **changed):
    """Return the environment variables for the TLS listener, which does not require a password."""
    return {"KAFKA_BROKERS": kafka.ssl_bootstrap, "KAFKA_SSL": "true", "KAFKA_CA_FILE": kafka.ca_file} | changed


@pytest.mark.parametrize("way", ["plaintext", "tls", *MECHANISMS])
def test_a_message_is_delivered_over_each_kind_of_connection(way, kafka, read_all):
    """A message that is acknowledged over plaintext, TLS or SASL can be read from Kafka."""
    ways = {"plaintext": {"KAFKA_BROKERS": kafka.bootstrap}, "tls": tls(kafka)}
    error, _ = outcome(ways[way] if way in ways else kafka.environment(way))
    assert error is None
    assert [(message.key, message.value) for message in read_all(kafka.bootstrap)] == [(b"key", b"value")]


def without_ca(environment):
    """Return these variables without KAFKA_CA_FILE, so that only the system's authorities are trusted."""
    return {name: value for name, value in environment.items() if name != "KAFKA_CA_FILE"}


REFUSED = {
    "wrong password, plain": lambda kafka: kafka.environment("plain") | {"KAFKA_PASSWORD": WRONG_PASSWORD},
    "wrong password, scram-sha-256": lambda kafka: (
        kafka.environment("scram-sha-256") | {"KAFKA_PASSWORD": WRONG_PASSWORD}
    ),
    "wrong password, scram-sha-512": lambda kafka: (
        kafka.environment("scram-sha-512") | {"KAFKA_PASSWORD": WRONG_PASSWORD}
    ),
    "unknown user, plain": lambda kafka: kafka.environment("plain") | {"KAFKA_USERNAME": "nobody"},
    "unknown user, scram-sha-512": lambda kafka: kafka.environment("scram-sha-512") | {"KAFKA_USERNAME": "nobody"},
    "wrong CA": lambda kafka: tls(kafka, KAFKA_CA_FILE=str(kafka.certificates.stranger_ca)),
    "wrong CA with SASL": lambda kafka: (
        kafka.environment("scram-sha-256") | {"KAFKA_CA_FILE": str(kafka.certificates.stranger_ca)}
    ),
    "no CA": lambda kafka: without_ca(tls(kafka)),
    "SASL where none is spoken": lambda kafka: (
        kafka.environment("scram-sha-256") | {"KAFKA_BROKERS": kafka.ssl_bootstrap}
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_credentials_or_certificates_are_a_config_error(case, kafka_server, caplog):
    """A refused login or certificate promptly raises an error with exit code 3, which does not show the password."""
    caplog.set_level(logging.DEBUG)
    error, seconds = outcome(REFUSED[case](kafka_server))
    assert isinstance(error, BrokerRefusedError)
    assert of_error(error) is ExitCode.CONFIG
    assert ("certificate" if "CA" in case else "refused the credentials") in error.message
    assert seconds < PROBE_SECONDS + 2
    told = f"{error!r} {error.message} {error.hint} {error.__cause__} {caplog.text}"
    assert WRONG_PASSWORD not in told
    assert kafka_server.password not in told


@pytest.mark.parametrize("sasl", [False, True])
def test_tls_to_a_plaintext_port_is_unavailable(sasl, kafka_server):
    """If a plaintext listener does not answer the TLS handshake, the probe ends within its limit.

    The probe's error has exit code 4.
    """
    environment = kafka_server.environment("scram-sha-256") if sasl else tls(kafka_server)
    error, seconds = outcome(environment | {"KAFKA_BROKERS": kafka_server.bootstrap}, within=SHORT_PROBE_SECONDS)
    assert type(error) is BrokerUnavailableError
    assert of_error(error) is ExitCode.UNAVAILABLE
    assert "SSL" in error.message
    assert "KAFKA_SSL" in error.hint
    assert seconds < SHORT_PROBE_SECONDS + 2


@pytest.mark.parametrize("listener", ["ssl_bootstrap", "secure_bootstrap"])
def test_plaintext_to_a_tls_port_is_unavailable(listener, kafka_server):
    """A plaintext connection to a TLS listener raises BrokerUnavailableError within the probe's limit."""
    error, seconds = outcome({"KAFKA_BROKERS": getattr(kafka_server, listener)}, within=SHORT_PROBE_SECONDS)
    assert type(error) is BrokerUnavailableError
    assert seconds < SHORT_PROBE_SECONDS + 2


def test_a_certificate_of_another_host_is_refused(kafka_server):
    """A certificate for a different host is refused, even if a trusted authority issued it.

    Otherwise, such a host could impersonate the broker.
    """
    with relay("127.0.0.2", int(kafka_server.ssl_bootstrap.rpartition(":")[2])) as address:
        error, _ = outcome(tls(kafka_server, KAFKA_BROKERS=address))
    assert isinstance(error, BrokerRefusedError)
    assert "certificate" in error.message


@pytest.mark.parametrize("wrong", ["missing", "empty", "directory"])
def test_a_ca_file_without_certificates_is_named(wrong, tmp_path):
    """If the CA file contains no certificates, payctl raises an error before it connects.

    The error names KAFKA_CA_FILE.
    """
    paths = {"missing": tmp_path / "none.pem", "empty": tmp_path / "empty.pem", "directory": tmp_path}
    (tmp_path / "empty.pem").write_text("")
    error, seconds = _raised({"KAFKA_BROKERS": "127.0.0.1:1", "KAFKA_SSL": "true", "KAFKA_CA_FILE": str(paths[wrong])})
    assert of_error(error) is ExitCode.CONFIG
    assert "KAFKA_CA_FILE" in error.message
    assert seconds < 1


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(
    ("environment", "allowed"),
    [("production", False), ("staging", False), ("dev", True), ("local", True), ("test", True)],
)
def test_credentials_are_not_sent_without_tls_outside_development(mechanism, environment, allowed):
    """SASL without TLS is refused before connecting, except in the dev, local and test environments."""
    variables = {
        "KAFKA_BROKERS": "127.0.0.1:1",
        "KAFKA_SASL_MECHANISM": mechanism.upper(),
        "KAFKA_USERNAME": "payctl",
        "KAFKA_PASSWORD": WRONG_PASSWORD,
        "ENVIRONMENT": environment,
    }
    if allowed:
        assert producer_config(Settings.from_env(variables).kafka)["security.protocol"] == "sasl_plaintext"
        return
    error, _ = _raised(variables)
    assert of_error(error) is ExitCode.CONFIG
    assert "KAFKA_SSL" in error.message
    assert WRONG_PASSWORD not in f"{error.message} {error.hint}"
    encrypted = producer_config(Settings.from_env(variables | {"KAFKA_SSL": "true"}).kafka)
    assert encrypted["security.protocol"] == "sasl_ssl"


def test_a_refusal_is_forgotten_when_the_broker_accepts(kafka):
    """After a successful connection, a producer no longer reports an earlier refusal."""
    producer = producer_of(kafka.environment("scram-sha-256"))
    producer._on_client_error(KafkaError(KafkaError._AUTHENTICATION))  # noqa: SLF001
    assert isinstance(producer.unavailable(), BrokerRefusedError)
    assert producer.probe(PROBE_SECONDS) == {}
    assert isinstance(producer.unavailable(), BrokerUnavailableError)
    producer.close()


def test_no_repr_shows_the_kafka_password(kafka_server):
    """Neither the repr of the settings nor the repr of the producer shows the Kafka password."""
    settings = Settings.from_env(kafka_server.environment("plain"))
    shown = f"{settings!r} {settings.kafka!r} {settings.kafka.password} {producer_of(settings.environ)!r}"
    assert kafka_server.password not in shown


def test_publish_outbox_reports_refused_credentials(kafka, database_url, payctl_command):
    """If the brokers refuse the login, ``payctl publish-outbox`` exits with code 3 and names KAFKA_PASSWORD.

    The debug log contains no password.
    """
    variables = {"DATABASE_URL": database_url, **kafka.environment("plain"), "KAFKA_PASSWORD": WRONG_PASSWORD}
    command = [*payctl_command, "publish-outbox", "-vv", "-o", "json"]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "refused the credentials" in done.stderr
    assert "KAFKA_PASSWORD" in done.stderr
    assert WRONG_PASSWORD not in done.stdout + done.stderr


def _raised(environment):
    began = time.monotonic()
    with pytest.raises(PayctlError) as raised:
        producer_of(environment)
    return raised.value, time.monotonic() - began


@contextmanager
def relay(host, port):
    """Listen on a free port of ``host``, and forward connections to ``port`` on 127.0.0.1. Yield the new address."""
    with create_server((host, 0)) as server:

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                upstream = create_connection(("127.0.0.1", port))
                for source, target in ((client, upstream), (upstream, client)):
                    Thread(target=pump, args=(source, target), daemon=True).start()

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"{host}:{server.getsockname()[1]}"
        server.shutdown(2)
    thread.join(5)


def pump(source, target):
    """Copy bytes until either side closes the connection."""
    with source, target:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            return
