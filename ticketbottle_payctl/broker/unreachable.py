"""Build the errors for brokers that refuse the client or do not answer."""

from __future__ import annotations

import re

from confluent_kafka import KafkaError

from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError

_CREDENTIALS = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_REFUSED = {*_CREDENTIALS, KafkaError._SSL}
_NONE_IS_DOWN = re.compile(r"(?:: )?(?<![0-9])0/[0-9]+ brokers are down")
"""A pattern for the text "0/3 brokers are down", which librdkafka writes before it notices that a broker is down."""


def is_refusal(error: KafkaError | None) -> bool:
    """Return whether the brokers refused the credentials or the TLS connection. If so, another attempt cannot help."""
    return error is not None and error.code() in _REFUSED


def unreachable(
    servers: str, error: KafkaError | None, what: str = "is not available"
) -> BrokerUnavailableError | BrokerRefusedError:
    """Return payctl's error for the client's last error, or for brokers that did not answer.

    Unless the brokers refused the client, the message begins with "Kafka at", the servers and ``what``.
    """
    if error is not None and error.code() in _CREDENTIALS:
        message = f"Kafka at {servers} refused the credentials"
        return BrokerRefusedError(message, hint="check KAFKA_SASL_MECHANISM, KAFKA_USERNAME and KAFKA_PASSWORD")
    if error is not None and error.code() == KafkaError._SSL:
        message = f"no trusted TLS connection to Kafka at {servers}: {error.str()}"
        return BrokerRefusedError(message, hint="check KAFKA_SSL and KAFKA_CA_FILE")
    cause = _NONE_IS_DOWN.sub("", error.str()) if error is not None else ""
    message = f"Kafka at {servers} {what}{f': {cause}' if cause else ''}"
    return BrokerUnavailableError(message, hint="check that the brokers are up, and that KAFKA_SSL matches their port")
