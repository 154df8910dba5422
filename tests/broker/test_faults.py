"""Test that payctl assigns each of Kafka's error codes to the right kind of fault."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.broker import faults
from ticketbottle_payctl.broker.faults import fault_of, is_permanent, is_too_large
from ticketbottle_payctl.domain.retry import Fault

CODES = sorted(
    name for name in dir(KafkaError) if name.strip("_").isupper() and isinstance(getattr(KafkaError, name), int)
)


EXAMPLES = {
    Fault.TRANSPORT: """
        STALE_BROKER_EPOCH REBOOTSTRAP_REQUIRED INVALID_TXN_STATE DELEGATION_TOKEN_EXPIRED _TIMED_OUT_QUEUE
        _UNKNOWN_BROKER PRINCIPAL_DESERIALIZATION_FAILURE OFFSET_OUT_OF_RANGE
        _TRANSPORT _ALL_BROKERS_DOWN _MSG_TIMED_OUT _AUTHENTICATION _SSL _PURGE_INFLIGHT _FATAL _RESOLVE UNKNOWN
        _INVALID_DIFFERENT_RECORD NOT_ENOUGH_REPLICAS NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT INVALID_MSG
        KAFKA_STORAGE_ERROR OUT_OF_ORDER_SEQUENCE_NUMBER THROTTLING_QUOTA_EXCEEDED SASL_AUTHENTICATION_FAILED
    """,
    Fault.CONFIGURATION: """
        _UNKNOWN_TOPIC UNKNOWN_TOPIC_OR_PART TOPIC_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED TOPIC_EXCEPTION
        POLICY_VIOLATION UNSUPPORTED_VERSION INVALID_TIMESTAMP UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID
    """,
    Fault.PERMANENT: "MSG_SIZE_TOO_LARGE INVALID_RECORD RECORD_LIST_TOO_LARGE _BAD_MSG",
    Fault.EVENT: "INVALID_REQUEST _KEY_SERIALIZATION",
}


@pytest.mark.parametrize("fault", list(Fault))
def test_a_kafka_error_is_classified_by_its_cause(fault):
    """An outage or a refused login is a transport fault.

    A missing topic or an incorrect clock is a configuration fault.
    """
    names = EXAMPLES[fault].split()
    assert {name: fault_of(KafkaError(getattr(KafkaError, name))) for name in names} == dict.fromkeys(names, fault)


def test_every_kafka_error_has_exactly_one_fault():
    """Each of the Kafka client's error codes maps to exactly one fault."""
    tables = [codes for codes, _ in faults._TABLES]  # noqa: SLF001
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert len(CODES) > 150
    assert {fault_of(KafkaError(getattr(KafkaError, name))) for name in CODES} == set(Fault)


def test_an_unknown_kafka_error_is_a_transport_fault():
    """An unknown Kafka error code does not use up a retry, because a newer broker might send it during an outage."""
    assert fault_of(KafkaError(31_999)) is Fault.TRANSPORT


def test_the_name_of_a_kafka_error_is_permanent_if_its_code_is():
    """The outbox row stores only the error's name, which is enough to tell whether the error is permanent."""
    errors = [KafkaError(getattr(KafkaError, name)) for name in CODES]
    wrong = [each.name() for each in errors if is_permanent(each.name()) != (fault_of(each) is Fault.PERMANENT)]
    assert wrong == []
    assert [name for name in map(KafkaError.name, errors) if is_too_large(name) and not is_permanent(name)] == []
    assert is_permanent("UNKNOWN_EVENT_TYPE")
    assert not is_permanent("Connection timeout to broker-1")
