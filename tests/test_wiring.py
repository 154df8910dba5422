"""Test that `Services` creates a service only when it is used, and closes only what it created."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.wiring import Services, utc_now


def test_a_missing_setting_is_an_error_only_when_it_is_used():
    """`Services` accepts an empty environment.

    The first use of the engine or producer raises an error that names the missing variable.
    """
    services = Services({})
    assert services.settings.batch_size == 1000
    with pytest.raises(ConfigError, match="DATABASE_URL is not set"):
        _ = services.engine
    with pytest.raises(ConfigError, match="KAFKA_BROKERS is not set"):
        _ = services.producer
    services.close()


@pytest.mark.postgres
def test_the_engine_is_made_once_and_closed_once(database_url):
    """`Services` always returns the same engine. After `close`, which can be called twice, no connection is open."""
    with Services({"DATABASE_URL": database_url}) as services:
        engine = services.engine
        assert engine is services.engine
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        assert engine.pool.checkedin() == 1
    services.close()
    assert engine.pool.checkedin() == 0


@pytest.mark.postgres
def test_an_engine_that_was_passed_in_is_left_open(engine):
    """`Services` does not close an engine that the caller passed in."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    with Services({}, engine=engine) as services:
        assert services.engine is engine
    assert engine.pool.checkedin() == 1


def test_the_producer_is_made_once(mock_kafka):
    """`Services` always returns the same producer, which connects when it is first used."""
    with Services({"KAFKA_BROKERS": mock_kafka.bootstrap}) as services:
        assert services.producer is services.producer
        assert services.producer.probe(10) == {}


def test_credentials_come_from_the_environment_or_another_source():
    """The list of credentials has a key's current value before its previous value.

    If another source is given, this source replaces the environment.
    """
    momo = GATEWAYS["momo"]
    environ = {"MOMO_SECRET_KEY": "new-value", "MOMO_SECRET_KEY_PREVIOUS": "old-value"}
    assert Services(environ).credentials(momo)["secret_key"] == (Secret("new-value"), Secret("old-value"))
    assert Services(environ).credentials(momo)["access_key"] == ()
    elsewhere = Services(environ, secrets=lambda name: (Secret(f"{name}-elsewhere"),))
    assert elsewhere.credentials(momo)["access_key"] == (Secret("MOMO_ACCESS_KEY-elsewhere"),)


def test_secrets_of_the_environment_are_redacted():
    """`Services` registers the secrets from the environment, so that errors and log lines do not show these secrets."""
    Services(
        {
            "ZALOPAY_KEY2": "canary-of-zalopay",
            "KAFKA_PASSWORD": "canary-of-kafka",
            "VNPAY_HASH_SECRET_PREVIOUS": "canary-of-vnpay",
            "DATABASE_URL": "postgresql://u:canary%21of%21db@h/d",
            "MOMO_SECRET_KEY_SECRET_ARN": "arn:aws:secretsmanager:shown",
        }
    )
    said = (
        "canary-of-zalopay canary-of-kafka canary-of-vnpay canary%21of%21db canary!of!db arn:aws:secretsmanager:shown"
    )
    assert redact(said) == "*** *** *** *** *** arn:aws:secretsmanager:shown"


def test_an_invalid_database_url_does_not_stop_the_services():
    """An invalid DATABASE_URL is an error only when the database is used."""
    Services({"DATABASE_URL": "http://[canary"}).close()


def test_the_clock_is_utc_and_can_be_replaced():
    """The default clock of `Services` is in UTC, and a caller can pass a different clock."""
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert Services({}, now=lambda: noon).now() == noon
    assert utc_now().utcoffset() == timedelta(0)


def test_importing_the_wiring_loads_no_driver():
    """Importing `wiring` does not load SQLAlchemy, the Kafka client or the command line."""
    code = "import sys, ticketbottle_payctl.wiring; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlalchemy", "psycopg2", "confluent_kafka", "typer", "rich"} & set(loaded)
