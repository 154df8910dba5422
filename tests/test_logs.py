"""Test that each log event is one line of JSON without secrets."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ticketbottle_payctl import logs
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.logs import log_context, log_event, setup_logging
from ticketbottle_payctl.redaction import register
from ticketbottle_payctl.secret import Secret

CARD = "9704198526191432198"
"""VNPay's published test card: 19 digits that pass the Luhn check."""


@pytest.fixture
def lines():
    """Log to memory, and yield a function that returns the JSON lines. Restore the logging setup after the test."""
    root, own = logging.getLogger(), logging.getLogger("ticketbottle_payctl")
    before = root.handlers[:], root.level, own.level
    stream = io.StringIO()
    setup_logging("debug", stream=stream, service="payctl")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def test_a_log_line_is_one_json_object(lines):
    """A log line contains the time in UTC, the level, the event name, the service, and all fields that are not None."""
    log_event("webhook_settled", provider="zalopay", amount=450_000, reason=None, late=False)
    (line,) = lines()
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert at.utcoffset() == timedelta(0)
    assert line == {
        "level": "INFO",
        "message": "webhook_settled",
        "service": "payctl",
        "provider": "zalopay",
        "amount": 450_000,
        "late": False,
    }


def test_a_null_inside_a_field_of_a_log_line_stays_null(lines):
    """A None inside a structure is logged as null, not as the string "None", which a program would misread."""
    log_event("publish_outbox_waiting", blocked_by=[{"retry_in_s": None, "events": 1}], counts={"held": None})
    (line,) = lines()
    assert (line["blocked_by"], line["counts"]) == ([{"retry_in_s": None, "events": 1}], {"held": None})


def test_a_log_context_is_on_every_line_inside_it(lines):
    """Nested log contexts combine their fields. A log context ends when its ``with`` block ends."""
    with log_context(function_request_id="r-1"):
        with log_context(correlation_id="c-1"):
            log_event("inner")
        log_event("outer")
    log_event("after")
    names = [{"function_request_id", "correlation_id"} & set(line) for line in lines()]
    assert names == [{"function_request_id", "correlation_id"}, {"function_request_id"}, set()]


@pytest.mark.parametrize(("level", "shown"), [("debug", 3), ("info", 2), ("warn", 1), ("warning", 1), ("error", 0)])
def test_lines_below_the_log_level_are_not_written(level, shown, lines):
    """Log events below the configured level are not written."""
    stream = io.StringIO()
    setup_logging(level, stream=stream)
    for each in ("debug", "info", "warning"):
        log_event("tried", level=each)
    assert len(stream.getvalue().splitlines()) == shown
    assert lines() == []


def test_only_warnings_of_libraries_are_logged(lines):
    """A library's warning is logged in payctl's format, with the logger's name and without secrets."""
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("password=%s", "canary-password")
    (line,) = lines()
    assert (line["logger"], line["level"]) == ("some.library", "WARN")
    assert "canary" not in json.dumps(line)


def test_an_event_can_be_left_out_of_the_log(lines):
    """`without` suppresses events that a command's result already shows on the terminal."""
    stream = io.StringIO()
    setup_logging("info", stream=stream, json=False, without={"outbox_late_events"})
    log_event("outbox_late_events", level="error", events=3)
    log_event("other", level="error")
    assert stream.getvalue() == "error: other\n"
    assert lines() == []


def test_log_lines_go_to_the_current_stderr(capsys):
    """Log lines go to the current sys.stderr, even if sys.stderr is replaced after logging is set up."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    setup_logging("info")
    log_event("here")
    root.handlers[:], root.level = before
    assert json.loads(capsys.readouterr().err)["message"] == "here"


@pytest.mark.parametrize("name", [
    "mac", "signature", "vnp_SecureHash", "password", "KAFKA_PASSWORD", "secret", "access_token", "api_key", "key2",
    "checksum_key", "authorization", "dsn", "DATABASE_URL", "accountNumber", "counterAccountNumber", "card_number",
    "body", "query", "payload",
])  # fmt: skip
def test_a_field_with_a_secret_name_is_blanked(name, lines):
    """If a field has a secret's name, its value is blanked, regardless of its type and even inside a structure."""
    log_event("tried", **{name: "canary", "inner": {name: ["canary"]}})
    assert lines()[0][name] == "***"
    assert "canary" not in json.dumps(lines())


@pytest.mark.parametrize("name", ["order_code", "event_id", "reference", "machine", "monkey", "idempotency_key_used"])
def test_fields_with_harmless_names_are_shown(name, lines):
    """A field whose name only resembles a secret's name keeps its value."""
    log_event("tried", **{name: "shown"})
    assert lines()[0][name] == "shown"


def test_a_gateway_transaction_id_is_not_blanked_as_a_card_number(lines):
    """A transaction id is shown even if it happens to be a valid card number."""
    log_event("tried", gateway_transaction_id=CARD, note=CARD)
    assert (lines()[0]["gateway_transaction_id"], lines()[0]["note"]) == (CARD, "***")


def test_a_traceback_is_redacted(lines):
    """The traceback in a log line does not show registered secrets or passwords from URLs."""
    register(Secret("canary-in-error"))
    cause = ConnectionError("postgresql://u:canary@h/d")
    error = ConfigError("the value was canary-in-error")
    error.__cause__ = cause
    log_event("tried", level="error", error=error)
    shown = lines()[0]["exception"]
    assert "ConfigError: the value was ***" in shown
    assert "postgresql://u:***@h/d" in shown


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 11, 22, 3, 4, 5, 678_900, UTC), "2026-11-22T03:04:05.678Z"),
        (datetime(2026, 11, 22, 10, 4, 5, tzinfo=timezone(timedelta(hours=7))), "2026-11-22T03:04:05.000Z"),
    ],
)
def test_instants_are_utc_with_milliseconds(at, shown):
    """An instant from any time zone is logged in UTC with milliseconds."""
    assert logs.rfc3339(at) == shown


def test_hostile_text_cannot_break_a_log_line(lines):
    """Line breaks and control characters in a log event are escaped, so an event is always one line."""
    log_event("tried", order_code="a\nb\x1b[31m\u202e\x9b")
    assert lines()[0]["order_code"] == "a\nb\x1b[31m\u202e\x9b"
