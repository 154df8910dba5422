"""Translate payctl's settings into librdkafka's configuration.

https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md explains librdkafka's options.
"""

from __future__ import annotations

import ssl
from typing import Any

from ticketbottle_payctl.broker import msk
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.settings.named_file import fault, shown

MESSAGE_TIMEOUT_MS = 30_000
"""The time limit for delivering one message, in milliseconds, including retries and the election of a new leader.

This limit is longer than the socket timeout.
"""

_SOCKET_TIMEOUT_MS = 10_000

ClientConfig = dict[str, Any]
"""The type of librdkafka's settings. With aws-iam, one of the values is the function that signs the next token."""


def connection_config(settings: KafkaSettings) -> ClientConfig:
    """Return the connection, TLS and login settings, which are the same for producers, consumers and admin clients.

    Raises:
        ConfigError: the CA file contains no certificates, or the msk extra, the region or the AWS credentials for
            aws-iam are missing.
    """
    return {
        "bootstrap.servers": settings.brokers,
        "client.id": settings.client_id,
        "socket.timeout.ms": _SOCKET_TIMEOUT_MS,
        "socket.connection.setup.timeout.ms": _SOCKET_TIMEOUT_MS,
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
        "connections.max.idle.ms": 180_000,
        "allow.auto.create.topics": False,
        "log_level": 0,  # librdkafka would log to stderr; payctl gets its errors through error_cb
        "security.protocol": _protocol(settings),
        **_trust(settings),
        **_credentials(settings),
    }


def producer_config(settings: KafkaSettings, message_timeout_ms: int = MESSAGE_TIMEOUT_MS) -> ClientConfig:
    """Return a producer's settings.

    payctl's delivery guarantee depends on acks=all, idempotence and Java's partitioner.

    Because ``linger.ms`` is almost as long as the message timeout, the client keeps messages in its queue until the
    producer flushes. Therefore the producer can check its claim again before the first message is sent. Without this
    check, a publisher that was frozen for a while might send its queued messages after another publisher has sent newer
    messages.
    """
    return connection_config(settings) | {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": message_timeout_ms - 1,  # librdkafka requires a value below the timeout
        "compression.type": "lz4",  # similar payloads compress well: 10 % more events per second
        "message.timeout.ms": message_timeout_ms,
        "message.max.bytes": LARGEST_MESSAGE,
        "topic.metadata.propagation.max.ms": 5000,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 262_144,
    }


def _protocol(settings: KafkaSettings) -> str:
    if settings.mechanism is None:
        return "ssl" if settings.ssl else "plaintext"
    return "sasl_ssl" if settings.ssl else "sasl_plaintext"


def _trust(settings: KafkaSettings) -> ClientConfig:
    """Return the TLS settings.

    The client always verifies the certificate and host name, by default with the system's CAs.
    """
    if not settings.ssl:
        return {}
    checked = {"enable.ssl.certificate.verification": True, "ssl.endpoint.identification.algorithm": "https"}
    if settings.ca_file is None:
        return checked
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(settings.ca_file)
    except (OSError, ValueError) as error:  # OpenSSL's own error is also an OSError
        wrong = fault(settings.ca_file) or "contains no PEM certificates"
        message = f"KAFKA_CA_FILE names {shown(settings.ca_file)}, which {wrong}"
        raise ConfigError(
            message,
            hint="set KAFKA_CA_FILE to a PEM file with the certificate of the CA that signed the brokers' certificates",
        ) from error
    return checked | {"ssl.ca.location": settings.ca_file}


def _credentials(settings: KafkaSettings) -> ClientConfig:
    if settings.mechanism is None:
        return {}
    if settings.mechanism == "aws-iam":
        return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": msk.token_source(settings.brokers, settings.region)}
    return {
        "sasl.mechanism": settings.mechanism.upper(),
        "sasl.username": settings.username or "",
        "sasl.password": settings.password.reveal() if settings.password else "",
    }
