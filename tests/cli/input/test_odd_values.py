"""Test that payctl exits with 2 if a value is too long, out of range or not UTF-8."""

from __future__ import annotations

import json

import pytest

from ticketbottle_payctl.cli.input.durations import duration

pytestmark = pytest.mark.postgres

UUID = "0190d5f3-0000-7000-8000-000000000001"
CURSORS = ["2026-01-01T00:00:00Z~x", f"9999-12-31T23:59:59Z~{UUID}", f"0001-01-01T00:00:00+14:00~{UUID}"]
TOO_FAR = [
    ["list", "outbox", "--since", "999999999w"],
    ["list", "outbox", "--since", "9999999d"],
    ["list", "outbox", "--stuck", "--age", "9999999d"],
    ["list", "outbox", "--stuck", "--age", "999999999w"],
    ["list", "outbox", "--until", "9999-12-31T23:59:59Z"],
    ["list", "outbox", "--since", "0001-01-01"],
    ["list", "outbox", "--since", "1899-12-31T23:59:59Z"],
    ["list", "payments", "--stuck", "--age", "9999999d"],
    ["list", "payments", "--until", "9999-12-31"],
    ["list", "outbox", "--after", f"9999-12-31T23:59:59-12:00~{UUID}"],
    ["list", "payments", "--after", f"0001-01-01T00:00:00+14:00~{UUID}"],
    *(["list", "receipts", "--after", cursor] for cursor in CURSORS),
    *(["runs", "list", "--after", cursor] for cursor in CURSORS),
    ["replay", "--stuck", "--age", "9999999d", "-n"],
    ["cleanup", "--older-than", "9999999d", "-n"],
    ["cleanup", "--keep-newest", "999999999w", "-n"],
    ["cleanup", "--receipts-older-than", "9999999d", "-n"],
    ["cleanup", "--max-duration", "999999999w", "-n"],
    ["reconcile", "payments", "--older-than", "9999999d", "-n"],
    ["reconcile", "outbox", "--since", "9999999d"],
    ["reconcile", "payments", "--timeout", "999999999w", "-n"],
    ["stats", "--since", "9999999d"],
    ["stats", "--since", "999999999w"],
    ["stats", "--check", "--max-age", "999999999w"],
    ["stats", "--wait", "pending=0", "--timeout", "999999999w"],
    ["stats", "--wait", "age<999999999w"],
    ["publish-outbox", "--deadline", "999999999w", "-n"],
]
LONG = [
    ["list", "outbox", "--since", "36525d"],
    ["list", "outbox", "--since", "1900-01-02", "--until", "2199-12-30T00:00"],
    ["list", "outbox", "--stuck", "--age", "36525d"],
    ["list", "outbox", "--after", "2199-12-31T23:59:59Z~x"],
    ["list", "receipts", "--after", f"1900-01-01T00:00:00Z~{UUID}"],
    ["runs", "list", "--after", f"2026-01-01T00:00:00Z~{UUID}"],
    ["cleanup", "--older-than", "36525d", "--keep-newest", "36525d", "-n"],
    ["cleanup", "--receipts-older-than", "36525d", "--max-duration", "36525d", "-y"],
    ["reconcile", "payments", "--older-than", "36525d", "--timeout", "36525d", "--deadline", "36525d", "-n"],
    ["stats", "--since", "36525d"],
    ["stats", "--check", "--max-age", "36525d"],
    ["stats", "--wait", "pending=0", "--timeout", "36525d", "--interval", "36525d"],
    ["publish-outbox", "--deadline", "36525d"],
    ["replay", "--failed", "--canary", "1", "--canary-timeout", "36525d", "-y"],
]


@pytest.mark.parametrize("arguments", TOO_FAR, ids=" ".join)
def test_a_duration_or_instant_out_of_range_is_refused(arguments, answer, database_url):
    """If a duration or an instant is out of range, payctl exits with 2."""
    document = answer(*arguments, "--tz", "Asia/Ho_Chi_Minh", DATABASE_URL=database_url, KAFKA_BROKERS="127.0.0.1:1")
    assert (document["exit_code"], document["error"]["code"]) == (2, "USAGE"), document["error"]


@pytest.mark.parametrize("arguments", LONG, ids=" ".join)
def test_a_duration_of_a_hundred_years_works_everywhere(arguments, answer, database_url, mock_kafka):
    """Every command accepts a duration of a hundred years."""
    document = answer(*arguments, DATABASE_URL=database_url, KAFKA_BROKERS=mock_kafka.bootstrap)
    assert document["exit_code"] == 0, document["error"]


def test_the_longest_duration_is_a_hundred_years():
    """The longest duration that payctl accepts is 36,525 days."""
    assert duration("36525d").days == 36_525


NO_TEXT = b"why \xff"
ARGUMENTS = [
    ["doctor", "--fix-published-flags", "--yes", "--reason", NO_TEXT],
    ["simulate", "momo", "paid", "--set", b"orderInfo=\xff"],
    ["simulate", "momo", "paid", "--reference", NO_TEXT],
    ["list", "outbox", "--type", NO_TEXT],
    ["list", "outbox", NO_TEXT],
    ["process-webhook", NO_TEXT],
    ["verify-signature", "--query", b"vnp_x=\xff"],
    ["show", NO_TEXT],
    ["-p", NO_TEXT, "version"],
    [NO_TEXT],
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=lambda arguments: " ".join(map(str, arguments)))
def test_an_argument_that_is_not_utf_8_is_refused_first(arguments, process):
    """If an argument is not UTF-8, payctl exits with 2 before it reads any input."""
    result = process(*arguments, "-o", "json")
    assert result.returncode == 2, result.stderr
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "INPUT"
    assert "is not UTF-8" in error["message"]


@pytest.mark.parametrize(
    "name",
    ["PAYCTL_ACTOR", "PAYCTL_PROFILE", "DATABASE_URL", "KAFKA_BROKERS", "ENVIRONMENT", "MOMO_SECRET_KEY"],
)
def test_a_variable_that_is_not_utf_8_is_refused_first(name, process):
    """If an environment variable is not UTF-8, the error names the variable and does not show its value."""
    result = process("version", "-o", "json", **{name: b"canary \xff"})
    assert result.returncode == 2, result.stderr
    assert json.loads(result.stdout)["error"]["message"] == f"{name} is not UTF-8"
    assert "canary" not in result.stdout + result.stderr


def test_other_programs_variables_may_be_anything(process):
    """`payctl` accepts any bytes in environment variables that it does not read."""
    assert process("version", SOMEBODY_S_TOKEN=b"\xff\xfe\xfd secret").returncode == 0
