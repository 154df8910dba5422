"""Test what ``payctl config show`` shows on a terminal of 80 columns."""

from __future__ import annotations

import pytest

BROKERS = [f"b-{number}.payments-prod.a1b2c3.c2.kafka.ap-southeast-1.amazonaws.com:9098" for number in (1, 2, 3)]
URL = "postgresql://payctl_operator@payments.cluster-a1b2c3.ap-southeast-1.rds.amazonaws.com/payments"
KEY = "canary-key"  # pragma: allowlist secret
SHORT = "a.shop.vn:9092,b.shop.vn:9092"


@pytest.fixture
def config(tmp_path):
    """Return the path of a configuration file, which is too long for a column of a table."""
    folder = tmp_path / "a-folder-with-a-name-that-is-longer-than-a-column"
    folder.mkdir()
    file = folder / "config.toml"
    file.write_text(
        f"""
[profiles.prod]
DATABASE_URL = "{URL}"
KAFKA_BROKERS = "{",".join(BROKERS)}"
PGSSLROOTCERT = "/etc/payctl/global-bundle.pem"
VNPAY_HASH_SECRET = "{KEY}"

[profiles.prod.guard]
protected = true

[profiles.short]
KAFKA_BROKERS = "{SHORT}"
""",
        "utf-8",
    )
    return str(file)


@pytest.fixture
def shown(terminal, config):
    """Return a function that runs `config show` with a profile, and returns the lines on the terminal."""

    def run(*options, columns=80, **environment):
        with terminal("config", "show", *options, columns=columns, PAYCTL_CONFIG=config, **environment) as screen:
            assert screen.finish() == 0
            return screen.text().splitlines()

    return run


def row(lines, name):
    """Return the words of the line for a setting."""
    (found,) = (line.split() for line in lines if line.startswith(f"{name} "))
    return found


def test_config_show_names_the_profile_s_file_once(shown, config):
    """The first lines name the profile and its file. Each setting is one line, and its origin is only the profile."""
    lines = shown("-p", "prod")
    file = "".join(line.strip() for line in lines[: next(i for i, line in enumerate(lines) if line.startswith("name"))])
    assert file.replace(" ", "") == f"profileprodin{config}"
    assert row(lines, "PGSSLROOTCERT") == ["PGSSLROOTCERT", "profile", "prod", "/etc/payctl/global-bundle.pem"]
    assert row(lines, "VNPAY_HASH_SECRET") == ["VNPAY_HASH_SECRET", "profile", "prod", "(hidden)"]
    assert row(lines, "OUTBOX_MAX_RETRIES") == ["OUTBOX_MAX_RETRIES", "default", "5"]
    assert row(lines, "KAFKA_CLIENT_ID") == ["KAFKA_CLIENT_ID", "not", "set"]
    assert row(lines, "DATABASE_URL") == ["DATABASE_URL", "profile", "prod"]
    assert "    payments.cluster-a1b2c3.ap-southeast-1.rds.amazonaws.com:5432/payments" in lines


def test_config_show_breaks_brokers_only_after_a_comma(shown):
    """Brokers that do not fit next to the name are below it, one on each line. Brokers that fit stay together."""
    lines = shown("-p", "prod")
    start = lines.index("KAFKA_BROKERS                  profile prod") + 1
    assert lines[start : start + 3] == [f"    {BROKERS[0]},", f"    {BROKERS[1]},", f"    {BROKERS[2]}"]
    assert row(shown("-p", "short"), "KAFKA_BROKERS") == ["KAFKA_BROKERS", "profile", "short", SHORT]


def test_config_show_names_the_environment_and_needs_no_profile(shown):
    """Without a profile, no line names a file. The origin of a value from the environment is `environment`."""
    lines = shown(KAFKA_CLIENT_ID="payctl-linh")
    assert lines[0].split() == ["name", "origin", "value"]
    assert row(lines, "KAFKA_CLIENT_ID") == ["KAFKA_CLIENT_ID", "environment", "payctl-linh"]


def test_a_long_origin_does_not_move_the_other_values(shown):
    """The long origin of another profile's guard does not move the values on the other lines to the right."""
    lines = shown(DATABASE_URL=URL)
    assert row(lines, "guard.protected")[1:7] == ["profile", "prod,", "which", "has", "the", "same"]
    start = lines[0].index("value")
    assert start < 50
    assert {line.index("5", 30) for line in lines if line.startswith("OUTBOX_MAX_RETRIES ")} == {start}
    assert max(map(len, lines)) <= 80
