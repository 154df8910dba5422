"""Test that payctl reads KAFKA_BROKERS, and that an error names the position of an invalid entry."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings.brokers import brokers


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("b:9092", "b:9092"),
        (" b-1.example:9092 , b_2:9092 ,", "b-1.example:9092,b_2:9092"),
        ("10.0.0.1:9092,[::1]:9093", "10.0.0.1:9092,[::1]:9093"),
        ("B:65535", "B:65535"),
    ],
)
def test_kafka_brokers_may_have_blanks_and_empty_entries(text, read):
    """KAFKA_BROKERS can have spaces around commas and empty entries. payctl ignores these spaces and empty entries."""
    assert brokers(text) == read


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no broker"),
        (" , ", "names no broker"),
        ("kafka://canary:9092", "KAFKA_BROKERS has a scheme"),
        ("a:1,SSL://canary:9092", "broker 2 of 2 in KAFKA_BROKERS has a scheme"),
        ("SASL_SSL://canary:9092", "has a scheme"),
        ('["canary:9092"]', "is a JSON list"),
        ("['canary:9092']", "is a JSON list"),
        ("[canary:9092]", "brackets around something that is not an IPv6 address"),
        ('"canary:9092"', "contains quotes"),
        ("'canary:9092'", "contains quotes"),
        ("canary:9092;b:9092", "contains a semicolon"),
        ("canary:9092 b:9092", "contains a space"),
        ("canary", "has no port"),
        ("canary:", "has no port"),
        ("canary:9092,b", "broker 2 of 2 in KAFKA_BROKERS has no port"),
        ("canary:port", "not a number from 1 to 65535"),
        ("canary:0", "not a number from 1 to 65535"),
        ("canary:65536", "not a number from 1 to 65535"),
        ("canary:٣", "not a number from 1 to 65535"),
        ("canary:9092/path", "not a number from 1 to 65535"),
        ("user:canary@b:9092", "has an @"),
        ("::1:9092", "is not host:port"),
        (":9092", "is not host:port"),
        ("canary\\b:9092", "is not host:port"),
    ],
)
def test_the_error_for_kafka_brokers_names_the_wrong_entry(text, words):
    """The error for KAFKA_BROKERS gives the position and the fault of the invalid entry, but not its text."""
    with pytest.raises(ConfigError) as error:
        brokers(text)
    assert words in error.value.message
    assert "canary" not in f"{error.value.message} {error.value.hint}"
