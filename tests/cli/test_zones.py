"""Test --tz with every command that shows instants to people. Machine-readable formats always use UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from ticketbottle_payctl.cli.output.instants import instant

INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[+-]\d{2}:\d{2}|Z)")


@pytest.fixture
def world(database_url, mock_kafka, engine):
    """Insert a payment that has been waiting since 2026-11-22, with two dead events.

    Return the environment for payctl.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """
            INSERT INTO payments (id, "orderCode", "amountCents", currency, provider, "providerTransactionId",
                "idempotencyKey", "redirectUrl", "paymentUrl", status, "createdAt", "updatedAt")
            VALUES ('p-1', 'TB-X-1', 1000, 'VND', 'MOMO', 't', 'k', '', '', 'PENDING', '2026-11-22 20:30', now());
            INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt", "retryCount",
                "lastError")
            SELECT 'e-' || number, 'p-1', 'payment', 'PAYMENT_FAILED', '{}', '2026-11-22 20:30', 5, 'too large'
            FROM generate_series(1, 2) AS number
            """
        )
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


COMMANDS = (
    *(["list", "outbox"], ["list", "payments"], ["errors"], ["show", "TB-X-1"], ["replay", "--failed", "-n"]),
    *(["cleanup", "-n"], ["list", "outbox", "--since", "2026-11-23"], ["runs", "list"]),
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("zone", "offset"), [("Asia/Ho_Chi_Minh", "+07:00"), ("<+0530>-5:30", "+05:30")])
def test_instants_are_shown_in_the_given_time_zone(arguments, zone, offset, world, invoke):
    """Commands show instants with the offset of --tz, or in UTC if the instants are in parentheses."""
    assert invoke("replay", "e-2", "-y", **world).exit_code == 0
    result = invoke(*arguments, "--tz", zone, **world)
    assert result.exit_code == (5 if arguments[0] == "show" else 0), result.stderr
    # Commands to paste, log lines and instants in parentheses are in UTC.
    lines = [line for line in (result.stdout + result.stderr).splitlines() if "payctl " not in line and line[:1] != "{"]
    found = INSTANT.findall(re.sub(r"\([^)]*\)", "", "\n".join(lines)))
    assert {each[-6:] for each in found} == {offset}


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_machine_formats_show_instants_in_utc(form, world, invoke):
    """The json, ndjson and csv formats show instants in UTC, regardless of --tz."""
    shown = INSTANT.findall(invoke("list", "outbox", "--tz", "Asia/Ho_Chi_Minh", "-o", form, **world).stdout)
    assert "2026-11-22T20:30:00.000Z" in shown
    assert all(each.endswith("Z") for each in shown)


def test_an_invalid_tz_variable_does_not_hide_results(world, invoke):
    """If TZ is invalid, a list shows a warning, and times in UTC.

    A clock time in an option makes payctl exit with 3.
    """
    shown = invoke("list", "outbox", **world, TZ="Nowhere/Zone")
    assert "2026-11-22T20:30:00.000Z" in shown.stdout
    assert shown.stderr.count("TZ is not a time zone; times are shown in UTC") == 1
    refused = invoke("list", "outbox", "--since", "09:00", **world, TZ="Nowhere/Zone")
    assert refused.exit_code == 3
    assert "TZ is not a time zone" in refused.stderr


def test_a_time_zone_applies_to_one_command_only(world, invoke):
    """The --tz option of one command does not affect the next command in the same process."""
    asked = invoke("list", "outbox", "--tz", "Asia/Ho_Chi_Minh", **world)
    assert "+07:00" in asked.stdout
    assert instant(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"
