"""Test the doctor's findings about brokers, topics and keys."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.callback import Callback
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.jobs.doctor import Status, Subject, diagnose
from ticketbottle_payctl.jobs.doctor.signing import signed_callback
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import KafkaSettings

VALUES = {
    "zalopay": {"app_id": "2554", "key1": "canary-1", "key2": "canary-2"},
    "payos": {"client_id": "canary-c", "api_key": "canary-a", "checksum_key": "canary-3"},
    "vnpay": {"tmn_code": "TBTEST01", "hash_secret": "canary-4"},
    "momo": {"partner_code": "TBMOMO", "access_key": "canary-5", "secret_key": "canary-6"},
}
ORDERS = {
    "zalopay": ("payctl-doctor", "261122000000001"),
    "payos": ("262002", "payctl-doctor"),
    "vnpay": ("payctl-doctor", "14000001"),
    "momo": ("payctl-doctor", "4000000001"),
}
"""The order and the transfer in each gateway's test callback. No shop has this order or this transfer."""

NAMES = pytest.mark.parametrize("gateway", VALUES)


def keys_of(gateway, **changes):
    """Return the doctor's findings about the keys of one gateway. ``changes`` overrides the test's keys."""

    def credentials(asked):
        values = VALUES[gateway] | changes if asked.name == gateway else {}
        return {
            field.name: tuple(Secret(value) for value in values.get(field.name, "").split("|") if value)
            for field in asked.fields
        }

    found = diagnose(subject(credentials=credentials), ["keys"]).findings
    return [finding for finding in found if finding.fact.startswith(gateway_name(gateway))]


def subject(bootstrap="", credentials=lambda _: {}):
    """Return a doctor subject with brokers and keys but without a database."""
    settings = KafkaSettings(bootstrap)
    return Subject(
        engine=lambda: None,
        kafka=lambda: settings,
        producer=lambda: Producer(producer_config(settings)),
        credentials=credentials,
        now=lambda: datetime.now(UTC),
    )


@NAMES
def test_a_gateway_accepts_the_doctor_s_test_callback(gateway):
    """For every gateway, payctl's verifier accepts the doctor's test callback."""
    credentials = {name: (Secret(value),) for name, value in VALUES[gateway].items()}
    verdict = GATEWAYS[gateway].verify(signed_callback(gateway, VALUES[gateway]), credentials)
    assert isinstance(verdict, Callback)
    assert (verdict.amount, verdict.outcome.value) == (10_000, "COMPLETED")
    assert (verdict.order_ref, verdict.gateway_transaction_id) == ORDERS[gateway]


@NAMES
def test_the_doctor_verifies_each_gateway_s_configured_keys(gateway):
    """With a gateway's keys, the doctor accepts its own signed test callback and refuses a tampered one."""
    (finding,) = keys_of(gateway)
    assert (finding.status, finding.fact) == (
        Status.OK,
        f"{gateway_name(gateway)}: verified 1 test callback and refused a tampered one",
    )


def test_the_doctor_verifies_each_key_of_a_rotation():
    """During a key rotation, the doctor tests the current and the previous key separately."""
    (finding,) = keys_of("momo", secret_key="canary-new|canary-old")
    assert finding.fact.endswith(
        "verified 2 test callbacks (1 with keys from before a rotation) and refused a tampered one"
    )


WRONG_KEYS = [
    ("zalopay", {"app_id": "canary"}, "fail", "app_id does not match the configured application"),
    ("zalopay", {"app_id": ""}, "fail", "ZALOPAY_APP_ID not set"),
    ("momo", {"access_key": "", "partner_code": ""}, "fail", "MOMO_PARTNER_CODE, MOMO_ACCESS_KEY not set"),
    ("vnpay", {"hash_secret": " canary"}, "warn", "VNPAY_HASH_SECRET begins or ends with white space"),
    ("payos", {"checksum_key": "'canary'"}, "warn", "PAYOS_CHECKSUM_KEY begins or ends with"),
    ("payos", {"checksum_key": ""}, "ok", "PayOS is off"),
]
"""Changed keys of a gateway, with the doctor's finding."""


@pytest.mark.parametrize(("gateway", "changes", "status", "words"), WRONG_KEYS)
def test_the_finding_about_a_wrong_key_names_its_variable(gateway, changes, status, words):
    """If a key is invalid, the doctor names the variable and does not show the key."""
    (finding,) = keys_of(gateway, **changes)
    assert (finding.status.value, words in finding.fact) == (status, True)
    assert "canary" not in str(finding)


def test_the_doctor_describes_brokers_and_topics(mock_kafka):
    """If the brokers are available, the doctor reports a finding for each topic."""
    report = diagnose(subject(mock_kafka.bootstrap), ["kafka"])
    assert report.healthy
    assert [finding.fact.split(":")[0] for finding in report.findings[1:]] == [
        "topic payment.completed",
        "topic payment.failed",
        "topic payment.cancelled",
    ]


def test_a_topic_with_one_partition_is_a_warning_and_a_missing_one_a_failure():
    """The doctor warns about a topic with one partition, and reports a missing topic as a failure."""
    with MockKafka().start() as cluster:
        cluster.create_topic("payment.completed", partitions=1)
        cluster.create_topic("payment.failed")
        found = {
            finding.fact.split(":")[0]: finding for finding in diagnose(subject(cluster.bootstrap), ["kafka"]).findings
        }
    assert found["topic payment.completed"].status is Status.WARN
    missing = found["topic payment.cancelled"]
    assert missing.status is Status.FAIL
    assert missing.meaning == "PAYMENT_CANCELLED events cannot be published and must wait"


def test_a_cluster_without_any_expected_topic_is_one_finding():
    """If all topics are missing, the doctor's only finding says that this may be the wrong cluster."""
    with MockKafka().start() as cluster:
        (finding,) = diagnose(subject(cluster.bootstrap), ["kafka"]).findings
    assert finding.status is Status.FAIL
    assert "another cluster" in finding.meaning


def test_unavailable_brokers_are_a_failure():
    """If the brokers are unavailable, the doctor reports a failure with their address and says what to check."""
    (finding,) = diagnose(subject("127.0.0.1:1"), ["kafka"]).findings
    assert (finding.status, "127.0.0.1:1" in finding.fact, bool(finding.remedy)) == (Status.FAIL, True, True)
    assert finding.meaning == "no event can be published until this is fixed"


def test_the_doctor_says_what_it_looks_at():
    """The doctor names each check before it runs. It connects to the database only for a check that needs it."""
    seen = []
    report = diagnose(subject(), ["keys"], looking=seen.append)
    assert seen == ["database", "keys"]
    assert [finding.check for finding in report.findings] == ["keys"] * len(GATEWAYS)
    assert (report.counts["ok"], report.off, report.healthy) == (len(GATEWAYS), len(GATEWAYS), True)
