"""Test the faults that ``payctl config validate`` finds."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands.test_config import by_name
from ticketbottle_payctl.providers import GATEWAYS


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
    """`payctl` exits with 3 for an invalid DATABASE_URL, and the error does not contain any part of the URL."""
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
    """`config validate` refuses an unknown setting in a profile.

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
    """`config validate` refuses a misspelt variable, and ignores other programs' variables with the same prefix."""
    settings = {"DATABASE_URL": "postgresql://u:p@h/d", "KAFKA_BROKERS": "b:9092"}
    others = {"PAYCTL_TEST_POSTGRES": "x", "PAYCTL_OUTPUT": "json", "KAFKA_HEAP_OPTS": "x"}
    assert answer("config", "validate", **settings, **others)["ok"]
    document = answer("config", "validate", PAYCTL_SHARD="4", **settings)
    assert "did you mean PAYCTL_SHARDS?" in next(item["message"] for item in document["items"] if not item["ok"])


MSK = "b-1.shop.a1b2c3.c2.kafka.ap-southeast-1.amazonaws.com"
SERVERLESS = "boot-a1b2c3.c1.kafka-serverless.ap-southeast-1.amazonaws.com"
LOGIN = {"KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "canary"}


@pytest.mark.parametrize(
    ("brokers", "settings", "words"),
    [
        (
            f"{MSK}:9096",
            {"KAFKA_SASL_MECHANISM": "aws-iam"},
            "KAFKA_BROKERS has port 9096, but for aws-iam Amazon MSK uses port 9098, or 9198 for public access",
        ),
        (
            f"{MSK}:9098",
            {"KAFKA_SASL_MECHANISM": "scram-sha-512", "KAFKA_SSL": "true", **LOGIN},
            "KAFKA_BROKERS has port 9098, but for scram-sha-512 Amazon MSK uses port 9096, or 9196 for public access",
        ),
        (f"{MSK}:9092", {"KAFKA_SSL": "true"}, "has port 9092, but for TLS without a login Amazon MSK uses port 9094"),
        (f"{MSK}:9094", {}, "KAFKA_BROKERS has port 9094, but for no login and no TLS Amazon MSK uses port 9092"),
        (
            f"{MSK}:9096",
            {"KAFKA_SASL_MECHANISM": "plain", "KAFKA_SSL": "true", **LOGIN},
            "KAFKA_SASL_MECHANISM is plain, but Amazon MSK accepts only aws-iam, scram-sha-512 and connections without",
        ),
        (
            f"{MSK}:9096",
            {"KAFKA_SASL_MECHANISM": "scram-sha-512", "ENVIRONMENT": "dev", **LOGIN},
            "KAFKA_SSL is false, but Amazon MSK accepts scram-sha-512 only with TLS: set KAFKA_SSL=true",
        ),
        (f"{SERVERLESS}:9098", {}, "KAFKA_SASL_MECHANISM is not set, but MSK Serverless accepts only aws-iam"),
    ],
)
def test_validate_refuses_a_port_or_a_login_that_msk_does_not_have(answer, brokers, settings, words):
    """If the URL of an Amazon MSK broker has a port for another login, `config validate` names the right port."""
    kafka = by_name(answer("config", "validate", KAFKA_BROKERS=brokers, **settings))["kafka"]
    assert not kafka["ok"]
    assert words in kafka["message"]


@pytest.mark.parametrize(
    ("brokers", "settings"),
    [
        (f"{MSK}:9096,{MSK.replace('b-1', 'b-2')}:9096", {"KAFKA_SASL_MECHANISM": "scram-sha-512", "KAFKA_SSL": "1"}),
        (f"{MSK}:9194", {"KAFKA_SSL": "true"}),
        (f"{MSK}:9092", {}),
        ("kafka.shop.vn:9098", {}),
    ],
)
def test_validate_accepts_the_ports_of_msk_and_of_other_brokers(answer, brokers, settings):
    """`config validate` accepts an Amazon MSK broker's port for this login, and any port of other brokers."""
    kafka = by_name(answer("config", "validate", KAFKA_BROKERS=brokers, **settings, **LOGIN))["kafka"]
    assert (kafka["ok"], kafka["message"]) == (True, brokers)


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
        ({"DATABASE_URL": "postgresql://u:p@h/d?sslcert=/canary"}, "database", "sslrootcert does not exist"),
        ({"DATABASE_URL": "postgresql://u:p@h/d?hostaddr=canary"}, "database", "not an IP address"),
        ({"PGSSLMODE": "canary"}, "database", "PGSSLMODE is not one of"),
        ({"KAFKA_BROKERS": "kafka://canary:9092"}, "kafka", "has a scheme"),
        ({"KAFKA_BROKERS": "canary"}, "kafka", "has no port"),
        ({"TZ": "Canary/Nowhere"}, "time zone", "TZ is not a time zone"),
    ],
)
def test_validate_finds_faults_without_a_connection(settings, name, words, answer):
    """`config validate` detects an invalid setting without connecting to a server.

    The exit code is 3. `config validate` names the fault but not the value.
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


def test_validate_warns_of_an_unprotected_database_connection(answer):
    """In production, `config validate` warns if another machine could read the connection or pose as the server."""
    settings = {"DATABASE_URL": "postgresql://u:canary@h/d", "KAFKA_BROKERS": "b:9092", "ENVIRONMENT": "prod"}
    document = answer("config", "validate", **settings)
    (warning,) = document["warnings"]
    assert document["exit_code"] == 0
    assert "the connection to h:5432/d may be unencrypted: set PGSSLMODE=verify-full" in warning
    assert "canary" not in warning
    for safe in ({"PGSSLMODE": "verify-full"}, {"ENVIRONMENT": "dev"}, {"DATABASE_URL": "postgresql://localhost/d"}):
        assert answer("config", "validate", **{**settings, **safe})["warnings"] == []


def test_validate_checks_only_the_groups_that_a_job_needs(answer):
    """With `--only`, `config validate` leaves out the other groups, but always checks the general settings."""
    cleanup = {"DATABASE_URL": "postgresql://u:p@h/d", "OUTBOX_RETENTION_DAYS": "7", "ZALOPAY_APP_ID": "1"}
    assert answer("config", "validate", **cleanup)["counts"]["wrong"] == 2

    def names(*options, **settings):
        document = answer("config", "validate", *options, **settings)
        return document["exit_code"], [item["name"] for item in document["items"]]

    assert names("--only", "database", **cleanup) == (0, ["general", "database", "time zone"])
    assert names("--only", "database", "--only", "momo", **cleanup) == (
        0, ["general", "database", "time zone", "momo"],
    )  # fmt: skip
    assert names("--only", "kafka", **cleanup) == (3, ["general", "kafka", "time zone"])
    assert names("--only", "database", **{**cleanup, "OUTBOX_RETENTION_DAYS": "x"})[0] == 3
    assert names("--only", "database", **{**cleanup, "PAYCTL_SHARD": "4"})[1][-1] == "PAYCTL_SHARD"
    assert "DATABASE_URL" in str(answer("config", "validate", "--only", "database")["items"])


def test_validate_refuses_an_unknown_group(answer):
    """`config validate` refuses an `--only` name that is not a group, and lists the groups."""
    document = answer("config", "validate", "--only", "brokers")
    assert document["exit_code"] == 2
    assert "no such group: brokers; the groups are database, kafka, " in document["error"]["message"]
