from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ticketbottle_payctl import logs
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.logs import log_context, log_event, redact, redact_echo, register, setup_logging
from ticketbottle_payctl.secret import Secret

MAC_256, MAC_512 = "0123456789abcdef" * 4, "0123456789ABCDEF" * 8
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:canary@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:can@ry:x/y@host/db", "postgresql://user:***@host/db"),
        ("redis://:canary@host", "redis://:***@host"),
        ("password=canary host=x", "password=*** host=x"),
        ("MOMO_SECRET_KEY=canary and api_key = canary", "MOMO_SECRET_KEY=*** and api_key = ***"),
        ("ZALOPAY_KEY2=canary&accessKey=canary&amount=1", "ZALOPAY_KEY2=***&accessKey=***&amount=1"),
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
    """Passwords in URLs, named secrets, MACs and card numbers are blanked."""
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
        "MOMO_SECRET_KEY: 24 characters",
        "monkey=1 key3=2",
    ],
)
def test_harmless_text_is_not_redacted(text):
    """Ids, order codes, instants and digits that are not a card number stay unchanged."""
    assert redact(text) == text


def test_a_registered_value_is_blanked_wherever_it_appears():
    """A registered secret is blanked, even if it is URL-encoded. Very short values are not blanked."""
    register(Secret("canary/value+1"))
    register(Secret("short"))
    assert redact("a canary/value+1 b canary%2Fvalue%2B1 c short") == "a *** b *** c short"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the key KeyOfTheShop-7 is wrong", "the key *** is wrong"),
        ("the key KeyOfT... is wrong", "the key ***... is wrong"),
        ("ends in eShop-7", "ends in ***"),
        ("fTheSh", "***"),
        ("KeyOf and hop-7", "KeyOf and hop-7"),
        ("KeyOfTheShop-7KeyOfThe, TheShop", "***, ***"),
        ("token=canary", "token=***"),
        ("", ""),
    ],
)
def test_a_part_of_a_secret_is_blanked_in_the_words_of_a_gateway(text, shown):
    """In a gateway's message, any six consecutive characters of a registered secret are blanked.

    Everything else that `redact` blanks is blanked as well.
    """
    register(Secret("KeyOfTheShop-7"))
    assert redact_echo(text) == shown


def test_a_traceback_is_redacted(lines):
    """The traceback in a log line shows no registered secret and no password from a URL."""
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


@pytest.mark.parametrize(
    "text",
    [
        "a" * 500_000,
        "a://b:" * 80_000,
        "password" * 60_000,
        "password " + " " * 500_000,
        "key1 " * 100_000,
        "0" * 500_000,
        "f" * 500_000,
        "4111 " * 100_000,
        "a+" * 250_000 + "://u:p@h",
        "@" * 500_000,
    ],
    ids=["letters", "schemes", "names", "blanks", "keys", "digits", "hex", "card groups", "long scheme", "ats"],
)
def test_redaction_takes_linear_time(text):
    """Redacting 500,000 characters finishes within the test's timeout, which a quadratic time would exceed."""
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
    """The password in a URL is blanked up to the last @. The user name and the host stay readable."""
    assert redact(text) == shown


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_secret_of_one_test_is_a_plain_word_in_the_next(which):
    """A word that one test registers is not redacted in another test."""
    register(Secret(f"the word of the {which}"))
    assert redact("the word of the first, the word of the second").count("***") == 1
