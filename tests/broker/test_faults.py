from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.broker import faults
from ticketbottle_payctl.broker.faults import fault_of
from ticketbottle_payctl.domain.retry import Fault

CODES = sorted(
    name for name in dir(KafkaError) if name.strip("_").isupper() and isinstance(getattr(KafkaError, name), int)
)


EXAMPLES = {
    Fault.TRANSPORT: """
        _TRANSPORT _ALL_BROKERS_DOWN _MSG_TIMED_OUT _AUTHENTICATION _SSL _PURGE_INFLIGHT _FATAL _RESOLVE UNKNOWN
        _INVALID_DIFFERENT_RECORD NOT_ENOUGH_REPLICAS NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT INVALID_MSG
        KAFKA_STORAGE_ERROR OUT_OF_ORDER_SEQUENCE_NUMBER THROTTLING_QUOTA_EXCEEDED SASL_AUTHENTICATION_FAILED
    """,
    Fault.CONFIGURATION: """
        _UNKNOWN_TOPIC UNKNOWN_TOPIC_OR_PART TOPIC_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED TOPIC_EXCEPTION
        POLICY_VIOLATION UNSUPPORTED_VERSION
    """,
    Fault.PERMANENT: "MSG_SIZE_TOO_LARGE INVALID_RECORD RECORD_LIST_TOO_LARGE _BAD_MSG",
    Fault.EVENT: "INVALID_TIMESTAMP _KEY_SERIALIZATION OFFSET_OUT_OF_RANGE",
}


@pytest.mark.parametrize("fault", list(Fault))
def test_whose_fault_an_error_is(fault):
    """An outage, a refused login or a crowded broker is nobody's; a missing topic is a setting's."""
    names = EXAMPLES[fault].split()
    assert {name: fault_of(KafkaError(getattr(KafkaError, name))) for name in names} == dict.fromkeys(names, fault)


def test_every_error_has_one_fault():
    """No code stands in two tables, and none is without an answer."""
    tables = (faults._TRANSPORT, faults._CONFIGURATION, faults._PERMANENT)  # noqa: SLF001
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert len(CODES) > 150
    assert {fault_of(KafkaError(getattr(KafkaError, name))) for name in CODES} == set(Fault)
