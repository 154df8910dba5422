"""Test that ``payctl config validate`` checks the files, the packages and the identity that the settings need."""

from __future__ import annotations

import json
import os
import sys

import certifi
import pytest

from tests.cli.commands import test_config_file
from tests.cli.commands.test_config import by_name
from tests.cli.commands.test_config_file import as_nobody

folder = test_config_file.folder

RIGHT = {"DATABASE_URL": "postgresql://u:p@h.invalid/d", "KAFKA_BROKERS": "b.invalid:9092"}
IAM = {"KAFKA_BROKERS": "b.invalid:9098", "KAFKA_SASL_MECHANISM": "aws-iam", "AWS_EC2_METADATA_DISABLED": "true"}
NO_IDENTITY = {"AWS_SHARED_CREDENTIALS_FILE": "/canary", "AWS_CONFIG_FILE": "/canary"}
PRIVATE = "-----BEGIN PRIVATE KEY----- canary"  # pragma: allowlist secret
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary-key"}  # pragma: allowlist secret


@pytest.fixture
def page(tmp_path):
    """Return the path of a file that contains no certificate."""
    path = tmp_path / "canary.pem"
    path.write_text("<html>Access Denied</html>", "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("settings", "name", "words"),
    [
        ({"KAFKA_SSL": "true", "KAFKA_CA_FILE": "PAGE"}, "kafka", "set KAFKA_CA_FILE to a PEM file with"),
        ({**IAM, **KEYS}, "kafka", "AWS_REGION is not set"),
        ({**IAM, **NO_IDENTITY, "AWS_REGION": "ap-southeast-1"}, "kafka", "no AWS credentials were found"),
        (
            {**IAM, **NO_IDENTITY, "AWS_REGION": "x", "AWS_PROFILE": "canary"},
            "kafka",
            "cannot be read: ProfileNotFound",
        ),
        ({"PGSSLROOTCERT": "/" + "canary" * 999}, "database", "PGSSLROOTCERT names a file, which cannot be read"),
        ({"PGSSLKEY": PRIVATE}, "database", "PGSSLKEY names a file, which does not exist"),
        (
            {"DATABASE_URL": "postgresql://u:p@h/d?sslcert=PAGE"},
            "database",
            "the sslrootcert parameter of DATABASE_URL names a file, which contains no PEM certificates",
        ),
        (
            {"DATABASE_URL": "postgresql://u:p@h/d?sslcrl=/canary"},
            "database",
            "the sslcrl parameter of DATABASE_URL names a file, which does not exist",
        ),
    ],
)
def test_validate_finds_a_missing_file_or_identity(settings, name, words, answer, page):
    """`config validate` exits with 3 if a certificate file, the region or the AWS identity is missing.

    `config validate` shows no part of DATABASE_URL, and no text of a key that a variable contains instead of a path.
    """
    given = {variable: value.replace("PAGE", page) for variable, value in {**RIGHT, **settings}.items()}
    document = answer("config", "validate", **given)
    wrong = {item["name"]: item["message"] for item in document["items"] if not item["ok"]}
    assert (document["exit_code"], list(wrong)) == (3, [name])
    assert words in wrong[name]
    assert "canary" not in json.dumps(document).lower().replace(page, "")


@pytest.mark.parametrize(
    ("variable", "path", "reason"),
    [
        ("KAFKA_CA_FILE", "/missing.pem", "does not exist"),
        ("KAFKA_CA_FILE", "PAGE", "contains no PEM certificates"),
        ("KAFKA_CA_FILE", "PAGE/below", "does not exist"),
        ("PGSSLROOTCERT", "/missing.pem", "does not exist"),
        ("PGSSLROOTCERT", "~/global-bundle.pem", "does not exist"),
        ("PGSSLROOTCERT", "PAGE", "contains no PEM certificates"),
        ("PGSSLROOTCERT", "/", "is not a regular file"),
        ("PGSSLCRL", "/missing.pem", "does not exist"),
        ("PGSSLCRLDIR", "PAGE", "is not a directory"),
        ("PGSSLKEY", "/missing.pem", "does not exist"),
    ],
)
def test_validate_names_the_file_that_it_cannot_use(variable, path, reason, answer, page):
    """`config validate` names the path of an unusable file, and says whether the file is missing."""
    given = path.replace("PAGE", page)
    document = answer("config", "validate", **{**RIGHT, "KAFKA_SSL": "true", variable: given})
    (wrong,) = (item["message"] for item in document["items"] if not item["ok"])
    assert wrong.startswith(f"{variable} names {given}, which {reason}: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("variable", ["PGSSLROOTCERT", "PGSSLKEY", "KAFKA_CA_FILE"])
def test_validate_names_a_file_that_the_user_may_not_read(variable, answer, folder):
    """`config validate` says that a file exists but cannot be read, if the user lacks the permission."""
    locked = folder / "locked.pem"
    locked.touch(0o600)
    document = as_nobody(lambda: answer("config", "validate", **{**RIGHT, "KAFKA_SSL": "true", variable: str(locked)}))
    (wrong,) = (item["message"] for item in document["items"] if not item["ok"])
    assert wrong.startswith(f"{variable} names {locked}, which cannot be read: ")


@pytest.mark.parametrize(
    "settings",
    [
        {"KAFKA_SSL": "true", "KAFKA_CA_FILE": certifi.where(), "PGSSLROOTCERT": certifi.where()},
        {"KAFKA_CA_FILE": "/not-read-without-tls.pem"},
        {"PGSSLROOTCERT": "system"},
        {"DATABASE_URL": "postgresql://u:p@h/d?sslmode=disable", "PGSSLROOTCERT": "/not-read-without-tls.pem"},
        {"PGSSLCRLDIR": "/tmp"},  # noqa: S108 - any directory
        {**IAM, **KEYS, "AWS_REGION": "ap-southeast-1"},
        {**IAM, **KEYS, "KAFKA_BROKERS": "b-1.a.b.c2.kafka.ap-southeast-1.amazonaws.com:9098"},
    ],
)
def test_validate_accepts_files_that_exist_or_are_not_needed(settings, answer):
    """`config validate` accepts existing certificate files, and ignores the files of connections without TLS."""
    assert answer("config", "validate", **{**RIGHT, **settings})["ok"]


def test_validate_finds_a_missing_extra(answer, monkeypatch):
    """`config validate` exits with 3 if aws-iam is chosen without the msk extra, and names the lock file to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "botocore"] + ["botocore"]:
        monkeypatch.setitem(sys.modules, name, None)
    document = answer("config", "validate", **{**RIGHT, **IAM, **KEYS, "AWS_REGION": "ap-southeast-1"})
    assert document["exit_code"] == 3
    message = by_name(document)["kafka"]["message"]
    assert message.startswith("KAFKA_SASL_MECHANISM=aws-iam needs the msk extra: ")
    assert "locks/msk.txt" in message


def test_validate_warns_if_spans_need_a_missing_extra(answer, monkeypatch):
    """`config validate` warns if tracing is on without the otel extra, because payctl then only drops the spans."""
    tracing = {"OTEL_TRACES_EXPORTER": "otlp"}
    assert answer("config", "validate", **RIGHT, **tracing)["warnings"] == []
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    document = answer("config", "validate", **RIGHT, **tracing)
    assert document["exit_code"] == 0
    assert document["warnings"] == [
        "the OTEL_ variables turn tracing on, but the otel extra is not installed: pip install 'payctl[otel]'"
    ]
