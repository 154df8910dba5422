"""Whose fault a delivery's error is, by table. What is not listed is nobody's: it costs no event a retry.

So a broker's, a login's, a quota's or a clock's trouble kills no backlog, also under a name that is new to us.
"""

from __future__ import annotations

from confluent_kafka import KafkaError

from ticketbottle_payctl.domain.retry import Fault

# A timestamp is this host's clock against the topic's limits: every event of that topic meets it, none is to blame.
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

_TABLES = (
    (_CONFIGURATION, Fault.CONFIGURATION),
    (_PERMANENT, Fault.PERMANENT),
    (_EVENT, Fault.EVENT),
)


def fault_of(error: KafkaError) -> Fault:
    """The budget that this error is charged to."""
    code = error.code()
    return next((fault for codes, fault in _TABLES if code in codes), Fault.TRANSPORT)
