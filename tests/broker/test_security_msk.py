"""Test that payctl logs in to Amazon MSK with a short-lived token, which AWS credentials sign."""

import base64
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, urlsplit

import pytest
from confluent_kafka import Producer as Client

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import Settings

BROKERS = "b-1.tickets.a1b2c3.c2.kafka.ap-southeast-1.amazonaws.com:9098"
SERVERLESS = "boot-abc123.c1.kafka-serverless.eu-west-1.amazonaws.com:9098"
SECRET_KEY = "canary/aws/secret/key"  # pragma: allowlist secret


@pytest.fixture(autouse=True)
def identity(monkeypatch, tmp_path):
    """Set the temporary AWS credentials of a Lambda function in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDCANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-canary")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def config_of(brokers=BROKERS, **more):
    """Return the Kafka client's settings for an AWS IAM login."""
    variables = {"KAFKA_BROKERS": brokers, "KAFKA_SASL_MECHANISM": "aws-iam", "ENVIRONMENT": "production", **more}
    return producer_config(Settings.from_env(variables).kafka)


def url_of(token):
    """Return the presigned URL in a token, and the URL's query as a dictionary."""
    assert "=" not in token
    parts = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    return parts, {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=True).items()}


def test_aws_iam_uses_oauthbearer_over_tls():
    """The aws-iam mechanism implies TLS and does not need a user name or password."""
    config = config_of()
    assert (config["security.protocol"], config["sasl.mechanism"]) == ("sasl_ssl", "OAUTHBEARER")
    assert not {"sasl.username", "sasl.password"} & config.keys()


def test_the_token_is_a_presigned_url_of_15_minutes():
    """The AWS IAM token permits only connecting and is valid for at most 900 seconds."""
    before = int(time.time())
    token, expires = config_of()["oauth_cb"]("")
    parts, query = url_of(token)
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "kafka.ap-southeast-1.amazonaws.com", "/")
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Credential"].endswith("/ap-southeast-1/kafka-cluster/aws4_request")
    assert query["X-Amz-SignedHeaders"] == "host"
    assert query["X-Amz-Security-Token"] == "session-canary"
    assert query["User-Agent"].startswith("payctl/")
    assert int(query["X-Amz-Expires"]) <= 900
    assert before + 900 <= expires <= signed_at + int(query["X-Amz-Expires"])


def test_the_secret_key_is_not_in_the_token():
    """The AWS IAM token contains a signature but not the AWS secret key."""
    parts, _ = url_of(config_of()["oauth_cb"]("")[0])
    assert SECRET_KEY not in parts.geturl()


@pytest.mark.parametrize(
    ("brokers", "variables", "region"),
    [
        (BROKERS, {}, "ap-southeast-1"),
        (BROKERS, {"AWS_REGION": "us-east-1"}, "ap-southeast-1"),
        (SERVERLESS, {}, "eu-west-1"),
        ("kafka.internal:9098", {"AWS_REGION": "eu-central-1"}, "eu-central-1"),
        ("kafka.internal:9098", {"AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1"),
    ],
)
def test_the_region_comes_from_the_broker_s_name(brokers, variables, region):
    """The AWS region comes from the MSK host name. For any other host name, the region comes from AWS_REGION."""
    parts, _ = url_of(config_of(brokers, **variables)["oauth_cb"]("")[0])
    assert parts.netloc == f"kafka.{region}.amazonaws.com"


def test_an_unknown_region_is_a_configuration_error():
    """Without a known region, payctl raises ConfigError and does not sign a token."""
    with pytest.raises(ConfigError, match="AWS_REGION"):
        config_of("kafka.internal:9098")


def test_missing_aws_credentials_are_a_config_error(monkeypatch):
    """If AWS credentials are missing, payctl raises ConfigError before it connects."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match="no AWS credentials"):
        config_of()


def test_the_kafka_client_requests_a_token():
    """The real Kafka client accepts the aws-iam configuration and requests a token before it connects."""
    config, asked = config_of(), Event()

    def watched(setting):
        asked.set()
        return config["oauth_cb"](setting)

    client = Client({**config, "bootstrap.servers": "127.0.0.1:1", "oauth_cb": watched})
    assert asked.wait(10)
    client.purge()


WITHOUT_EXTRA = """
import sys
sys.modules["botocore"] = None
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import Settings
environ = {"KAFKA_BROKERS": "127.0.0.1:1"}
producer_config(Settings.from_env(environ).kafka)
try:
    producer_config(Settings.from_env(environ | {"KAFKA_SASL_MECHANISM": "aws-iam", "AWS_REGION": "x"}).kafka)
except ConfigError as error:
    print(error.message, error.hint)
"""


def test_only_aws_iam_needs_the_msk_extra():
    """All other login mechanisms work without botocore.

    If botocore is missing, the error for aws-iam names the lock file to install.
    """
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRA], capture_output=True, text=True, check=True)
    file = done.stdout.split(" -r ")[1].strip()
    assert re.search(r"^botocore==", (Path(__file__).parents[2] / file).read_text("utf-8"), re.MULTILINE)


def test_botocore_is_not_imported_for_other_mechanisms():
    """If aws-iam is not used, payctl does not import botocore, so an installed msk extra does not slow down payctl."""
    code = "import sys; import ticketbottle_payctl.broker.config; print('botocore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
