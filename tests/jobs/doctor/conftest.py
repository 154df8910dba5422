"""Fixtures for the doctor's checks of the database and the brokers."""

from __future__ import annotations

from datetime import UTC, datetime

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
