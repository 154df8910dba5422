"""Classify a delivery error as a fault in the transport, in the configuration or in the event.

An error that is not listed in this module is a transport fault, which does not use up a retry. Therefore an outage, a
refused login or a quota never makes an event dead, even if the broker reports an unknown code.
"""

from __future__ import annotations

from confluent_kafka import KafkaError

from ticketbottle_payctl.domain.retry import Fault

# INVALID_TIMESTAMP depends on this host's clock and the topic's limits. This error affects every event of the topic.
_CONFIGURATION = {
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.INCONSISTENT_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    KafkaError.INVALID_REQUIRED_ACKS,
}
_PERMANENT = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError._BAD_MSG,
}
_EVENT = {
    KafkaError.INVALID_REQUEST,
    KafkaError._INVALID_ARG,
    KafkaError._BAD_COMPRESSION,
    KafkaError._KEY_SERIALIZATION,
    KafkaError._VALUE_SERIALIZATION,
}

UNKNOWN_EVENT_TYPE = "UNKNOWN_EVENT_TYPE"
"""The name of payctl's own permanent error for an event type without a topic."""

_TOO_LARGE = {KafkaError(code).name() for code in (
    KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE,
)}  # fmt: skip

_TABLES = (
    (_CONFIGURATION, Fault.CONFIGURATION),
    (_PERMANENT, Fault.PERMANENT),
    (_EVENT, Fault.EVENT),
)


def fault_of(error: KafkaError) -> Fault:
    """Return the kind of fault, which determines whether the error uses up one of the event's retries."""
    code = error.code()
    return next((fault for codes, fault in _TABLES if code in codes), Fault.TRANSPORT)


def is_permanent(name: str) -> bool:
    """Return whether an error with this name makes an event dead at the first attempt."""
    return name == UNKNOWN_EVENT_TYPE or name in {KafkaError(code).name() for code in _PERMANENT}


def is_too_large(name: str) -> bool:
    """Return whether an error with this name means that the message is too large."""
    return name in _TOO_LARGE
