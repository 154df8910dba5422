"""Test the target line, which names a command's profile, database and brokers."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.cli.app.target import target
from ticketbottle_payctl.cli.output.result import Styled
from ticketbottle_payctl.cli.output.theme import Style
from ticketbottle_payctl.cli.profile.guard_in_force import GuardInForce, in_force
from ticketbottle_payctl.cli.profile.profiles import load

RDS = "payments.c9abcdefghij.ap-southeast-1.rds.amazonaws.com:5432/payments"
MSK = ",".join(f"b-{number}.tickets.abc123.c3.kafka.ap-southeast-1.amazonaws.com:9096" for number in (1, 2, 3))
FILE = f"""
[profiles.dev]
DATABASE_URL = "postgresql://u:p@127.0.0.1:5432/dev"
KAFKA_BROKERS = "127.0.0.1:9092"

[profiles.prod]
DATABASE_URL = "postgresql://u:secretword@{RDS}"  # pragma: allowlist secret
KAFKA_BROKERS = "{MSK}"
[profiles.prod.guard]
protected = true

[profiles.copy]
DATABASE_URL = "postgresql://other:p@{RDS}"
"""


@pytest.fixture
def parts(tmp_path):
    """Return a function that takes a profile's name and returns the parts of its target line."""
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    path.chmod(0o600)

    def made(name, *, brokers=True, width=None, **environ):
        profile = load(name, str(path), environ)
        guard = in_force(profile, str(path), environ) if name else GuardInForce((profile,))
        return target(profile, lambda: guard, brokers=brokers, width=width)

    return made


def text_of(parts):
    """Return the target line as printed."""
    return " ".join(part.text if isinstance(part, Styled) else part for part in parts)


def test_the_target_line_names_profile_database_and_brokers(parts):
    """The target line names the profile, database and brokers. The line is dim and does not contain a password."""
    line = parts("dev")
    assert text_of(line) == "profile dev · database 127.0.0.1:5432/dev · brokers 127.0.0.1:9092"
    assert {part.style for part in line} == {Style.DIM}
    assert text_of(parts("dev", brokers=False)) == "profile dev · database 127.0.0.1:5432/dev"


def test_a_protected_profile_is_red_and_marked_in_words(parts):
    """The target line says in red that the profile, or another profile with the same database, is protected."""
    assert text_of(parts("prod")).startswith("profile prod (protected) · database payments.")
    assert text_of(parts("copy", brokers=False)).startswith("profile copy (protected: prod) · database")
    for name in ("prod", "copy"):
        assert [part.style for part in parts(name, brokers=False) if "protected" in part.text] == [Style.BAD]
    assert "secretword" not in text_of(parts("prod"))


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_target_line_fits_the_terminal(parts, width):
    """The target line shortens long addresses in the middle. The profile, database and one broker stay readable."""
    line = text_of(parts("prod", width=width))
    assert len(line) <= width
    assert line.startswith("profile prod (protected) · database ")
    assert "/payments" in line or width == 80
    assert "· brokers b" in line


def test_a_missing_setting_does_not_hide_the_answer(parts):
    """The target line shows "not set" for a missing setting. The command, not the target line, reports the error."""
    assert text_of(parts(None)) == "profile none · database not set · brokers not set"


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("KAFKA_SASL_MECHANISM", "plain", "database 127.0.0.1:5432/dev · brokers 127.0.0.1:9092"),
        ("KAFKA_SASL_MECHANISM", "canary", "database 127.0.0.1:5432/dev · brokers 127.0.0.1:9092"),
        ("PGSSLMODE", "canary", "database 127.0.0.1:5432/dev · brokers 127.0.0.1:9092"),
        ("LOG_LEVEL", "canary", "database 127.0.0.1:5432/dev · brokers 127.0.0.1:9092"),
        ("KAFKA_BROKERS", "canary", "database 127.0.0.1:5432/dev · brokers not valid"),
        ("KAFKA_BROKERS", "127.0.0.1:9092, 127.0.0.2:9092", "brokers 127.0.0.1:9092,127.0.0.2:9092"),
        ("DATABASE_URL", "canary", "database not valid · brokers 127.0.0.1:9092"),
        ("DATABASE_URL", "postgresql://u:canary@127.0.0.1:5432/dev?sslmode=no", "database 127.0.0.1:5432/dev ·"),
    ],
)
def test_an_address_is_shown_although_another_setting_is_invalid(parts, setting, value, words):
    """The target line shows each address that payctl can read, and says which address is not valid."""
    line = text_of(parts("dev", **{setting: value}))
    assert words in line
    assert "canary" not in line
    assert "not set" not in line
