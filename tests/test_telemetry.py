from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ticketbottle_payctl import telemetry
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.telemetry import log_context, log_event, redact, register, setup_logging

MAC_256, MAC_512 = "0123456789abcdef" * 4, "0123456789ABCDEF" * 8
CARD = "9704198526191432198"
"""VNPay's published test card: 19 digits that pass the Luhn check."""


@pytest.fixture
def lines():
    """Log into a text, and read its lines as JSON; the log is left as it was."""
    root, own = logging.getLogger(), logging.getLogger("ticketbottle_payctl")
    before = root.handlers[:], root.level, own.level
    stream = io.StringIO()
    setup_logging("debug", stream=stream, service="payctl")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def test_a_line_is_one_object_with_the_event_s_name(lines):
    """Time in UTC, level, event name, what is always there, and the fields; None is left out."""
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


def test_the_context_is_on_every_line_inside_it(lines):
    """Nested contexts add up and end where their blocks end."""
    with log_context(function_request_id="r-1"):
        with log_context(correlation_id="c-1"):
            log_event("inner")
        log_event("outer")
    log_event("after")
    names = [{"function_request_id", "correlation_id"} & set(line) for line in lines()]
    assert names == [{"function_request_id", "correlation_id"}, {"function_request_id"}, set()]


@pytest.mark.parametrize(("level", "shown"), [("debug", 3), ("info", 2), ("warn", 1), ("warning", 1), ("error", 0)])
def test_the_level_is_log_level_s(level, shown, lines):
    """Less important lines than the level are not written."""
    stream = io.StringIO()
    setup_logging(level, stream=stream)
    for each in ("debug", "info", "warning"):
        log_event("tried", level=each)
    assert len(stream.getvalue().splitlines()) == shown
    assert lines() == []


def test_libraries_are_heard_from_warnings_on(lines):
    """A library's chatter stays out, its warnings come in, with its name, in the same form."""
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("password=%s", "canary-password")
    (line,) = lines()
    assert (line["logger"], line["level"]) == ("some.library", "WARN")
    assert "canary" not in json.dumps(line)


def test_a_line_goes_to_what_stderr_is_now(capsys):
    """A stream that was replaced after the setup is followed."""
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
def test_a_field_whose_name_says_secret_is_blank(name, lines):
    """Whatever its value is, also inside a structure."""
    log_event("tried", **{name: "canary", "inner": {name: ["canary"]}})
    assert lines()[0][name] == "***"
    assert "canary" not in json.dumps(lines())


@pytest.mark.parametrize("name", ["order_code", "event_id", "reference", "machine", "monkey", "idempotency_key_used"])
def test_other_fields_are_shown(name, lines):
    """Names that only sound alike keep their values."""
    log_event("tried", **{name: "shown"})
    assert lines()[0][name] == "shown"


def test_a_gateway_s_number_is_no_card(lines):
    """An identifier may pass the card check by accident and must stay readable."""
    log_event("tried", gateway_transaction_id=CARD, note=CARD)
    assert (lines()[0]["gateway_transaction_id"], lines()[0]["note"]) == (CARD, "***")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:canary@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:can@ry:x/y@host/db", "postgresql://user:***@host/db"),
        ("redis://:canary@host", "redis://:***@host"),
        ("password=canary host=x", "password=*** host=x"),
        ('{"accountNumber": "0071001234567", "amount": 1}', '{"accountNumber": "***", "amount": 1}'),
        ("vnp_Amount=1&vnp_SecureHash=canary&x=1", "vnp_Amount=1&vnp_SecureHash=***&x=1"),
        (f"the mac was {MAC_256}.", "the mac was ***."),
        (f"<{MAC_512}>", "<***>"),
        (f"card {CARD}", "card ***"),
        ("card 4111 1111 1111 1111 x", "card *** x"),
        ("at 4111-1111-1111-1111", "at ***"),
    ],
)
def test_text_that_looks_like_a_secret_is_blanked(text, shown):
    """Passwords in URLs, named secrets, MACs, card numbers."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "TB-ROCKHN-20261205-7K2M9QXA",
        "123e4567-e89b-12d3-a456-426614174000",
        "https://shop.example/webhook?order=1",
        "200904000000389",
        f"{MAC_256}0",
        "2026-11-22T03:04:05.678Z",
        "postgresql://user@host/db",
        "12 tokens",
    ],
)
def test_other_text_is_left_alone(text):
    """Ids, order codes, instants, and digits that are no card."""
    assert redact(text) == text


def test_a_registered_value_is_blanked_wherever_it_appears():
    """As it is and as a URL spells it; short ones are left, or every word would go."""
    register(Secret("canary/value+1"))
    register(Secret("short"))
    assert redact("a canary/value+1 b canary%2Fvalue%2B1 c short") == "a *** b *** c short"


def test_a_traceback_is_redacted(lines):
    """An error that is logged brings its traceback without its secrets."""
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
    """Whatever zone they were in."""
    assert telemetry.rfc3339(at) == shown


def test_hostile_text_cannot_break_a_line(lines):
    """Line ends and control characters are escaped: one event stays one line."""
    log_event("tried", order_code="a\nb\x1b[31m\u202e\x9b")
    assert lines()[0]["order_code"] == "a\nb\x1b[31m\u202e\x9b"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "a://b:" * 150_000,
        "password" * 120_000,
        "password " + " " * 1_000_000,
        "0" * 1_000_000,
        "f" * 1_000_000,
        "4111 " * 200_000,
        "a+" * 500_000 + "://u:p@h",
        "@" * 1_000_000,
    ],
    ids=["letters", "schemes", "names", "blanks", "digits", "hex", "card groups", "long scheme", "ats"],
)
def test_a_long_text_is_redacted_in_proportion_to_its_length(text):
    """Sixty-four KiB of letters took half a minute; the default time-out of a test would end that."""
    assert redact(text) is not None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@ss@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p:w@h/db", "postgresql://u:***@h/db"),
        ("x postgres+psycopg2://u:pw@h y", "x postgres+psycopg2://u:***@h y"),
        ("redis://:pw@h", "redis://:***@h"),
        ("mail me@h or see http://h/a@b", "mail me@h or see http://h/a@b"),
        ('"postgresql://u:pw@h"', '"postgresql://u:***@h"'),
    ],
)
def test_a_password_in_an_address_is_blanked_up_to_the_last_at(text, shown):
    """The user and the host stay, so that the message still says where it went."""
    assert redact(text) == shown
