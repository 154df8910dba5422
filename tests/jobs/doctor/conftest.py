"""Fixtures for the doctor's checks of the database and the brokers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import Subject, diagnose
from ticketbottle_payctl.settings import KafkaSettings


@pytest.fixture
def look(engine, mock_kafka):
    """Yield a function that runs the doctor's backlog check and returns the findings.

    The doctor calls ``database`` before each transaction, to get the engine.
    """
    opened = []

    def run(*only, bootstrap=mock_kafka.bootstrap, database=lambda: engine, **changes):
        def producer():
            if not bootstrap:
                message = "KAFKA_BROKERS is not set"
                raise ConfigError(message)
            opened.append(Producer(producer_config(KafkaSettings(bootstrap))))
            return opened[-1]

        subject = Subject(
            engine=database,
            kafka=lambda: KafkaSettings(bootstrap),
            producer=producer,
            credentials=lambda _: {},
            now=lambda: datetime.now(UTC),
            **changes,
        )
        return diagnose(subject, only or ["backlog"]).findings

    yield run
    for one in opened:
        one.close()


@pytest.fixture
def make_payments_slow(engine, monkeypatch):
    """Return a function that makes each read of a payment take five seconds, and limits a check's statements to 0.1 s.

    Call this function after the test has inserted its payments. Its argument is the module of the doctor's check.
    """

    def make_slow(check):
        monkeypatch.setattr(check, "LIMITS", replace(check.LIMITS, statement=timedelta(milliseconds=100)))
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE payments RENAME TO real_payments")
            connection.exec_driver_sql(
                "CREATE VIEW payments AS SELECT * FROM real_payments WHERE pg_sleep(5)::text IS NOT NULL"
            )

    return make_slow
