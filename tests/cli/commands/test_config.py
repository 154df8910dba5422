"""Test that payctl takes each setting from the right source, and that `config show` never shows a secret."""

from __future__ import annotations

import json

import pytest

from ticketbottle_payctl.cli.commands.config.names import DEFAULTED
from ticketbottle_payctl.cli.profile.config_file import config_path
from ticketbottle_payctl.cli.profile.profiles import load
from ticketbottle_payctl.errors import ConfigError

FILE = """
[profiles.staging]
KAFKA_BROKERS = "from-profile:9092"
OUTBOX_BATCH_SIZE = 77
KAFKA_SSL = true
MOMO_SECRET_KEY = "canary-in-profile"
tz = "Asia/Ho_Chi_Minh"

[profiles.staging.guard]
protected = true
max_affected = 5
"""


@pytest.fixture
def config(tmp_path):
    """Return the path of a configuration file with one profile."""
    file = tmp_path / "config.toml"
    file.write_text(FILE, "utf-8")
    return str(file)


def by_name(document):
    """Return a dictionary of the settings in a document, with their names as keys."""
    return {item["name"]: item for item in document["items"]}


def test_the_environment_overrides_a_profile_and_a_profile_the_default(config, answer):
    """`config show` names the source of each setting.

    The environment overrides the profile, which overrides the default.
    """
    shown = by_name(answer("config", "show", "--config", config, "-p", "staging", KAFKA_BROKERS="from-env:9092"))
    assert (shown["KAFKA_BROKERS"]["value"], shown["KAFKA_BROKERS"]["origin"]) == ("from-env:9092", "environment")
    assert (shown["OUTBOX_BATCH_SIZE"]["value"], shown["KAFKA_SSL"]["value"]) == ("77", "true")
    assert shown["OUTBOX_BATCH_SIZE"]["origin"] == f"profile staging in {config}"
    assert (shown["OUTBOX_MAX_RETRIES"]["value"], shown["OUTBOX_MAX_RETRIES"]["origin"]) == ("5", "default")


def test_config_show_has_guards_and_time_zone_with_their_origin(config, answer):
    """`config show` says whether each guard and the time zone come from the profile or are defaults."""
    shown = by_name(answer("config", "show", "--config", config, "-p", "staging"))
    seen = {
        name: (shown[name]["value"], shown[name]["origin"].split()[0]) for name in shown if name.startswith("guard.")
    }
    assert seen == {
        "guard.protected": ("true", "profile"),
        "guard.read_only": ("false", "default"),
        "guard.max_affected": ("5", "profile"),
    }
    assert (shown["tz"]["value"], shown["tz"]["is_set"]) == ("Asia/Ho_Chi_Minh", True)
    plain = by_name(answer("config", "show"))
    assert (plain["guard.max_affected"]["value"], plain["guard.max_affected"]["origin"]) == ("1000", "default")


def test_config_show_shows_no_secret(config, answer, keys):
    """`config show` says only whether a secret is set.

    For a database URL, it shows only the server, port and database name.
    """
    url = "postgresql://canary-user:canary-password@db.example:5433/payments?schema=x"
    document = answer("config", "show", "--config", config, "-p", "staging", DATABASE_URL=url, **keys)
    shown = by_name(document)
    assert shown["DATABASE_URL"]["value"] == "db.example:5433/payments"
    assert (shown["MOMO_SECRET_KEY"]["value"], shown["MOMO_SECRET_KEY"]["is_set"]) == (None, True)
    assert "canary" not in json.dumps(document)


def test_the_document_names_the_profile(config, answer):
    """Every JSON document names the profile from -p or PAYCTL_PROFILE."""
    assert answer("config", "path", "--config", config, "-p", "staging")["profile"] == "staging"
    assert answer("config", "path", PAYCTL_CONFIG=config, PAYCTL_PROFILE="staging")["profile"] == "staging"


def test_an_unknown_profile_is_refused_by_every_command(config, answer):
    """If the profile is unknown, every command exits with 3 and lists the profiles.

    Even a command that needs no settings refuses an unknown profile.
    """
    document = answer("version", "--config", config, "-p", "production")
    assert document["exit_code"] == 3
    assert "staging" in document["error"]["hint"]


def test_a_profile_s_guards_are_loaded(config):
    """A loaded profile contains the guards and the time zone from the configuration file."""
    profile = load("staging", config, {})
    assert (profile.guard.protected, profile.guard.read_only, profile.guard.max_affected) == (True, False, 5)
    assert profile.tz == "Asia/Ho_Chi_Minh"


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/payctl/config.toml"),
        ({"HOME": "/h"}, "/h/.config/payctl/config.toml"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}, "/h/.config/payctl/config.toml"),
    ],
)
def test_the_default_configuration_file_is_in_xdg_config_home(environ, path):
    """`payctl` ignores XDG_CONFIG_HOME if it is a relative path, as the XDG specification requires."""
    assert str(config_path(None, environ)) == path


def test_a_missing_configuration_file_is_an_error_only_if_it_is_named(tmp_path):
    """A missing configuration file is not an error if neither a profile nor --config is given."""
    assert load(None, None, {"HOME": str(tmp_path)}).name is None
    with pytest.raises(ConfigError):
        load(None, str(tmp_path / "missing"), {})


def test_config_show_has_every_setting(answer):
    """`config show` also lists the settings for key rotation and Lambda functions. No secret is shown."""
    given = {
        "PAYCTL_LOOP_SECONDS": "30", "PAYCTL_ALERTS_TOPIC_ARN": "arn:aws:sns:x", "AWS_REGION": "ap-southeast-1",
        "PAYCTL_DEAD_EVENTS_QUEUE_URL": "https://sqs/q", "PAYCTL_TRACES": "xray-udp", "PAYCTL_ACTOR": "Lan",
        "MOMO_SECRET_KEY_SECRET_ARN": "arn:aws:secretsmanager:y",
    }  # fmt: skip
    shown = by_name(answer("config", "show", **given, MOMO_SECRET_KEY_PREVIOUS="canary-before"))
    assert {name: shown[name]["value"] for name in given} == given
    hidden = shown["MOMO_SECRET_KEY_PREVIOUS"]
    assert (hidden["value"], hidden["is_set"]) == (None, True)
    assert set(DEFAULTED) <= set(shown)


def test_every_command_shows_the_database_s_place_in_the_same_way(answer, invoke, database_url, postgres):
    """`config show`, `config validate`, `cdc config` and `db upgrade` show the database's location identically."""
    name = database_url.rpartition("/")[2]
    userinfo = database_url.partition("//")[2].rpartition("@")[0]
    url = f"postgresql://{userinfo}@whatever.invalid/x?host=127.0.0.1&port={postgres.port}&dbname={name}"
    settings = {"DATABASE_URL": url, "KAFKA_BROKERS": "b:9092"}
    place = f"127.0.0.1:{postgres.port}/{name}"
    assert by_name(answer("config", "show", **settings))["DATABASE_URL"]["value"] == place
    assert by_name(answer("config", "validate", **settings))["database"]["message"] == place
    connector = answer("cdc", "config", **settings)["result"]["connector"]
    assert (connector["database.hostname"], connector["database.port"]) == ("127.0.0.1", str(postgres.port))
    assert connector["database.dbname"] == name
    upgraded = invoke("db", "upgrade", **settings)
    assert (upgraded.exit_code, place in upgraded.stderr) == (0, True)
