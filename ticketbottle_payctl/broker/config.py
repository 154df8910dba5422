"""Our settings in librdkafka's words."""

from __future__ import annotations

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import KafkaSettings

MESSAGE_TIMEOUT_MS = 30_000
"""How long one message may take, retries and a change of leader included. Longer than the socket's timeout."""

_SOCKET_TIMEOUT_MS = 10_000


def connection_config(settings: KafkaSettings) -> dict[str, str | int | bool]:
    """How to reach and trust the brokers; the same for a producer, a consumer and an admin client.

    Raises:
        ConfigError: a mechanism that needs an optional package which is not installed.
    """
    config: dict[str, str | int | bool] = {
        "bootstrap.servers": settings.brokers,
        "client.id": settings.client_id,
        "socket.timeout.ms": _SOCKET_TIMEOUT_MS,
        "socket.connection.setup.timeout.ms": _SOCKET_TIMEOUT_MS,
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
        "connections.max.idle.ms": 180_000,
        "allow.auto.create.topics": False,
        "log_level": 0,  # librdkafka would write to stderr itself; its errors reach us through error_cb
        "security.protocol": _protocol(settings),
    }
    if settings.ca_file:
        config["ssl.ca.location"] = settings.ca_file
    if settings.mechanism == "aws-iam":
        message = "KAFKA_SASL_MECHANISM=aws-iam needs the msk extra"
        raise ConfigError(message, hint="pip install 'payctl[msk]'")
    if settings.mechanism is not None:
        config["sasl.mechanism"] = settings.mechanism.upper()
        config["sasl.username"] = settings.username or ""
        config["sasl.password"] = settings.password.reveal() if settings.password else ""
    return config


def producer_config(settings: KafkaSettings) -> dict[str, str | int | bool]:
    """All of it, with what the guarantee rests on: every in-sync replica, idempotent, Java's partitioner."""
    return connection_config(settings) | {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        "message.timeout.ms": MESSAGE_TIMEOUT_MS,
        "topic.metadata.propagation.max.ms": 5000,
        "delivery.report.only.error": True,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 262_144,
    }


def _protocol(settings: KafkaSettings) -> str:
    if settings.mechanism is None:
        return "ssl" if settings.ssl else "plaintext"
    return "sasl_ssl" if settings.ssl else "sasl_plaintext"
