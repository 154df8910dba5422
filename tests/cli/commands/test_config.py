from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from ticketbottle_payctl.cli.commands.config.names import DEFAULTED
from ticketbottle_payctl.cli.profile.config_file import config_path
from ticketbottle_payctl.cli.profile.profiles import load
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.providers import GATEWAYS

NOBODY = 65534
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
    """`config show` says for each guard and the time zone whether it comes from the profile or is the default."""
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
    """`config show` says only whether a secret is set. For a database, it shows only the server, port and name."""
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
    """If the profile is unknown, every command exits with 3 and lists the profiles, even if it needs no settings."""
    document = answer("version", "--config", config, "-p", "production")
    assert document["exit_code"] == 3
    assert "staging" in document["error"]["hint"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profiles.staging]\nx\ny = 1", "not valid TOML at line"),
        ("profiles = 3", "profiles in"),
        ("[profiles]\nstaging = 3", "profiles.staging in"),
        ('[profiles.staging]\ndatabase_url = "canary"', "profiles.staging.database_url"),
        ("[profiles.staging]\nDATABASE_URL = []", "profiles.staging.DATABASE_URL"),
        ("[profiles.staging]\ntz = 7", "profiles.staging.tz"),
        ('[profiles.staging]\ntz = "Mars/Phobos"', "profiles.staging.tz"),
        ("[profiles.staging.guard]\nmax_affected = 0", "profiles.staging.guard.max_affected"),
        ("[profiles.staging.guard]\nprotect = true", "profiles.staging.guard.protect"),
        ('[profiles.staging.guard]\nmax_affected = "9"', "profiles.staging.guard.max_affected"),
        ("[profiles.staging.guard]\nmax_affected = true", "profiles.staging.guard.max_affected"),
        ("\xff", "not valid TOML"),
    ],
)
def test_the_error_for_an_invalid_configuration_file_names_the_place(text, words, answer, tmp_path):
    """For an invalid configuration file, payctl exits with 3. The error names the file and key, and shows no value."""
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode("latin-1"))
    document = answer("version", "--config", str(file), "-p", "staging")
    assert document["exit_code"] == 3
    assert words in document["error"]["message"]
    assert "canary" not in json.dumps(document)


@pytest.mark.parametrize("name", ["missing.toml", "", "/dev/zero"])
def test_an_unreadable_configuration_file_is_a_config_error(name, answer, tmp_path):
    """`payctl` exits with 3 if --config names a missing file, a directory or an endless device."""
    assert answer("version", "--config", str(tmp_path / name), "-p", "staging")["exit_code"] == 3


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


def test_validate_lists_every_fault(answer):
    """`config validate` checks all groups of settings, lists all faults, and exits with 3."""
    document = answer("config", "validate", KAFKA_SASL_MECHANISM="plain", KAFKA_BROKERS="b:1", ZALOPAY_KEY2="canary-1")
    wrong = {item["name"]: item["message"] for item in document["items"] if not item["ok"]}
    assert document["exit_code"] == 3
    assert set(wrong) == {"database", "kafka", "zalopay"}
    assert wrong["zalopay"] == "some keys are set, but not ZALOPAY_APP_ID"
    assert document["counts"] == {"checked": 4 + len(GATEWAYS), "wrong": 3}


def test_validate_accepts_valid_settings(answer, keys):
    """`config validate` exits with 0 for valid settings, even if some gateways have no keys and are off."""
    settings = {"DATABASE_URL": "postgresql://u:p@h/d", "KAFKA_BROKERS": "b:9092"}
    assert answer("config", "validate", **settings)["ok"]
    assert answer("config", "validate", **settings, **keys)["ok"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "canary-loud"),
        ("OUTBOX_BATCH_SIZE", "canary-many"),
        ("OUTBOX_BATCH_SIZE", "0"),
        ("OUTBOX_BATCH_SIZE", "9" * 5000),
        ("OUTBOX_MAX_RETRIES", "-1"),
        ("OUTBOX_RETENTION_DAYS", "7.5"),
        ("PAYCTL_SHARDS", "٣"),
    ],
)
def test_the_error_for_a_wrong_setting_names_the_variable(name, value, answer):
    """`payctl` exits with 3 for an invalid setting. The error names the variable but does not show its value."""
    document = answer("config", "show", **{name: value})
    assert document["exit_code"] == 3
    assert name in document["error"]["message"]
    assert "canary" not in json.dumps(document)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "canary",
        "mysql://u:canary@h/d",
        "postgresql://u:canary@h:port/d",
        "postgresql://u:canary@h",
        "http://[canary",
    ],
)
def test_the_error_for_a_wrong_database_url_names_the_variable(url, answer):
    """`payctl` exits with 3 for an invalid DATABASE_URL, and the error contains no part of the URL."""
    document = answer("db", "status", DATABASE_URL=url)
    assert document["exit_code"] == 3
    assert "DATABASE_URL" in document["error"]["message"]
    assert "canary" not in json.dumps(document)


@pytest.mark.parametrize(
    ("line", "name", "words"),
    [
        ('DATABSE_URL = "postgresql://h/d"', "DATABSE_URL", "did you mean DATABASE_URL?"),
        ("OUTBOX_BATCHSIZE = 5", "OUTBOX_BATCHSIZE", "did you mean OUTBOX_BATCH_SIZE?"),
        ('MOMO_SECRET_KEY_PREVIUS = "canary"', "MOMO_SECRET_KEY_PREVIUS", "did you mean MOMO_SECRET_KEY_PREVIOUS?"),
        ('QWERTY = "x"', "QWERTY", "payctl does not read it"),
    ],
)
def test_validate_refuses_an_unknown_name_in_a_profile(line, name, words, answer, tmp_path):
    """`config validate` refuses an unknown name in a profile.

    The error suggests a similar name and does not show the value.
    """
    file = tmp_path / "config.toml"
    file.write_text(f"[profiles.dev]\n{line}\n", "utf-8")
    settings = {"DATABASE_URL": "postgresql://u:p@h/d", "KAFKA_BROKERS": "b:9092"}
    document = answer("config", "validate", "-p", "dev", "--config", str(file), **settings)
    wrong = {item["name"]: item["message"] for item in document["items"] if not item["ok"]}
    assert (document["exit_code"], list(wrong)) == (3, [name])
    assert words in wrong[name]
    assert "canary" not in json.dumps(document)


def test_validate_refuses_a_misspelt_variable_of_the_environment(answer):
    """`config validate` refuses a misspelt variable, and ignores variables of other programs with the same prefix."""
    settings = {"DATABASE_URL": "postgresql://u:p@h/d", "KAFKA_BROKERS": "b:9092"}
    others = {"PAYCTL_TEST_POSTGRES": "x", "PAYCTL_OUTPUT": "json", "KAFKA_HEAP_OPTS": "x"}
    assert answer("config", "validate", **settings, **others)["ok"]
    document = answer("config", "validate", PAYCTL_SHARD="4", **settings)
    assert "did you mean PAYCTL_SHARDS?" in next(item["message"] for item in document["items"] if not item["ok"])


def test_config_show_has_every_setting(answer):
    """`config show` also lists the settings for key rotation and Lambda functions. It never shows a secret's value."""
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


def test_validate_accepts_secrets_that_only_the_functions_read(answer):
    """If a secret is only in Secrets Manager, `config validate` says that only the Lambda functions read it."""
    arns = {"MOMO_ACCESS_KEY_SECRET_ARN": "arn:1", "MOMO_SECRET_KEY_SECRET_ARN": "arn:2"}
    settings = {"DATABASE_URL": "postgresql://u:p@h/d", "KAFKA_BROKERS": "b:9092", "MOMO_PARTNER_CODE": "TB"}
    momo = by_name(answer("config", "validate", **settings, **arns))["momo"]
    assert momo["ok"]
    assert "only the functions read" in momo["message"]
    assert "MOMO_SECRET_KEY_SECRET_ARN" in momo["message"]


@pytest.mark.parametrize(
    ("settings", "name", "words"),
    [
        ({"DATABASE_URL": "postgresql://u:canary/x@h/d"}, "database", "an unencoded / or ? or #"),
        ({"DATABASE_URL": "postgresql://u:canary%00@h/d"}, "database", "%00 in the password"),
        ({"DATABASE_URL": "postgresql://u:p@h/d?connect_timeout=canary"}, "database", "connect_timeout"),
        ({"DATABASE_URL": "postgresql://u:p@h/d?sslmode=canary"}, "database", "sslmode"),
        ({"DATABASE_URL": "postgresql://u:p@h/d?sslidentity=canary"}, "database", "PKCS#12"),
        ({"DATABASE_URL": "postgresql://u:p@h/d?sslcert=/canary"}, "database", "cannot be read"),
        ({"DATABASE_URL": "postgresql://u:p@h/d?hostaddr=canary"}, "database", "not an IP address"),
        ({"PGSSLMODE": "canary"}, "database", "PGSSLMODE is not one of"),
        ({"KAFKA_BROKERS": "kafka://canary:9092"}, "kafka", "has a scheme"),
        ({"KAFKA_BROKERS": "canary"}, "kafka", "has no port"),
        ({"TZ": "Canary/Nowhere"}, "time zone", "TZ is not a time zone"),
    ],
)
def test_validate_finds_faults_without_a_connection(settings, name, words, answer):
    """`config validate` detects an invalid setting without a connection.

    It exits with 3, and names the fault but not the value.
    """
    right = {"DATABASE_URL": "postgresql://u:p@h.invalid/d", "KAFKA_BROKERS": "b.invalid:9092"}
    document = answer("config", "validate", **{**right, **settings})
    wrong = {item["name"]: item["message"] for item in document["items"] if not item["ok"]}
    assert (document["exit_code"], list(wrong)) == (3, [name])
    assert words in wrong[name]
    assert "canary" not in json.dumps(document).lower()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("supa=base-pooler.x", "parameter supa of DATABASE_URL is ignored"),
        ("sslmode=no-verify", "turns off verification of the server's certificate"),
        ("sslaccept=accept_invalid_certs", "turns off verification of the server's certificate"),
    ],
)
def test_validate_warns_of_harmless_faults(query, words, answer, invoke):
    """If a fault is harmless, `config validate` exits with 0 and prints a warning."""
    settings = {"DATABASE_URL": f"postgresql://u:p@h/d?{query}", "KAFKA_BROKERS": "b:9092"}
    document = answer("config", "validate", **settings)
    assert (document["exit_code"], len(document["warnings"])) == (0, 1)
    assert words in document["warnings"][0]
    assert words in invoke("config", "validate", **settings).stderr


def test_every_command_shows_the_database_s_place_in_the_same_way(answer, invoke, database_url, postgres):
    """`config show`, `config validate`, `cdc config` and `db upgrade` show the same server, port and database."""
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


def file_with(content):
    """Return a function that writes a configuration file."""
    return lambda path: path.write_text(content, "utf-8")


def locked(path):
    """Write a configuration file that its owner is not allowed to read."""
    path.write_text(FILE, "utf-8")
    path.chmod(0)
    os.chown(path, NOBODY, -1)


def foreign(path):
    """Write a configuration file that belongs to root and that other users are not allowed to read."""
    path.write_text(FILE, "utf-8")
    path.chmod(0o600)
    os.chown(path, 0, -1)


def in_a_locked_directory(path):
    """Write a configuration file into a directory that its owner is not allowed to search."""
    path.write_text(FILE, "utf-8")
    os.chown(path.parent, NOBODY, -1)
    path.parent.chmod(0)


OTHER = "or name another file with --config or PAYCTL_CONFIG"
# how to write the file, what the message says about it, and the hint
UNUSABLE = {
    "missing": (lambda _: None, "cannot be read: No such file or directory", f"create the file, {OTHER}"),
    "a directory": (lambda path: path.mkdir(), "is not a regular file", f"replace it with a file, {OTHER}"),
    "a link to itself": (
        lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links",
        f"replace it with a file, {OTHER}"),
    "not TOML": (
        file_with("[profiles.staging\n"), "is not valid TOML at line 1, column 18", f"correct it there, {OTHER}"),
    "not UTF-8": (
        lambda path: path.write_bytes(bytes([255])), "is not valid TOML", f"write it as TOML in UTF-8, {OTHER}"),
    "too large": (
        file_with("#" * 1_048_577), "is larger than 1 MiB, the limit for a configuration file",
        f"make the file smaller, {OTHER}"),
    "no table of profiles": (
        file_with("profiles = 3"), "profiles in {file} is not a table",
        f"write it as a table with the heading [profiles.NAME], {OTHER}"),
    "no table of a profile": (
        file_with("[profiles]\nstaging = 3"), "profiles.staging in {file} is not a table",
        f"write it as a table with the heading [profiles.staging], {OTHER}"),
}  # fmt: skip
LOCKED = {
    "without permission": (locked, f"let your user read it: `chmod u+r {{file}}`, {OTHER}"),
    "of another user": (foreign, f"ask its owner to let your user read it, {OTHER}"),
    "in a locked directory": (
        in_a_locked_directory, f"let your user search its directory: `chmod u+x {{folder}}`, {OTHER}"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("command", ["path", "validate"])
def test_the_hint_about_an_unusable_file_says_what_helps(name, command, tmp_path, answer):
    """If the configuration file cannot be used, the error names it and says what to do, and names no payctl command."""
    write, message, hint = UNUSABLE[name]
    file = tmp_path / "config.toml"
    write(file)
    error = answer("config", command, "--config", str(file), "-p", "staging")["error"]
    assert (error["code"], error["hint"]) == ("CONFIG", hint)
    assert str(file) in error["message"]
    assert message.format(file=file) in error["message"]


@pytest.fixture
def folder():
    """Yield a directory that every user can enter. Only root can enter pytest's own directories."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        folder = Path(made, "payctl")
        folder.mkdir()
        yield folder


def as_nobody(run):
    """Return the result of a function that runs as an unprivileged user, because root can read all files."""
    os.seteuid(NOBODY)
    try:
        return run()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", LOCKED)
@pytest.mark.parametrize("how", [["path"], ["path", "-p", "staging"], ["validate", "-p", "staging"]])
def test_the_hint_about_a_locked_file_names_the_missing_permission(name, how, folder, answer):
    """If this user is not allowed to read the configuration file, the hint says who must give which permission."""
    file, (write, hint) = folder / "config.toml", LOCKED[name]
    write(file)
    error = as_nobody(lambda: answer("config", *how, PAYCTL_CONFIG=str(file)))["error"]
    assert error["message"] == f"the configuration file {file} cannot be read: Permission denied"
    assert error["hint"] == hint.format(file=file, folder=folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_config_path_names_the_file_even_if_it_may_not_be_read(folder, answer):
    """Without a profile, `config path` names a file that may not be read, because it does not read the file."""
    locked(folder / "config.toml")
    document = as_nobody(lambda: answer("config", "path", XDG_CONFIG_HOME=str(folder.parent)))
    assert document["result"] == {"path": str(folder / "config.toml"), "exists": True}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_config_path_says_which_directory_may_not_be_searched(folder, answer):
    """If this user may not search the file's directory, `config path` says so, and does not say that it has a bug."""
    in_a_locked_directory(folder / "config.toml")
    error = as_nobody(lambda: answer("config", "path", XDG_CONFIG_HOME=str(folder.parent)))["error"]
    assert error["code"] == "CONFIG"
    assert error["hint"] == LOCKED["in a locked directory"][1].format(folder=folder)
