"""Test reading secrets from Secrets Manager, with moto's server."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.aws.client import make_client
from ticketbottle_payctl.aws.secrets import KEPT_SECONDS, SHORTEST_BETWEEN, SecretEnvironment
from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.wiring import Services

KEY = "ZALOPAY_KEY2"
RDS = {"username": "payctl", "password": "p@ss/word 1", "host": "db.internal", "port": 5433, "dbname": "payments"}


class Counting:
    """The real client with a call counter. If ``away`` is true, each call fails as if the network were down."""

    def __init__(self):
        self.client = make_client("secretsmanager")
        self.calls = 0
        self.away = False

    def get_secret_value(self, **arguments):
        """Count the call and forward it, or raise OSError."""
        self.calls += 1
        if self.away:
            message = "Could not connect to the endpoint URL"
            raise OSError(message)
        return self.client.get_secret_value(**arguments)


@pytest.fixture
def counting(cloud):
    """Return a counting client for one test."""
    assert cloud
    return Counting()


@pytest.fixture
def environment_of(counting, clock):
    """Return a function that creates a `SecretEnvironment`, which reads secrets with the counting client."""
    return lambda **environ: SecretEnvironment(environ, client=lambda: counting, clock=clock)


@pytest.mark.parametrize(
    ("stored", "current", "previous"),
    [
        ("one-plain-value", "one-plain-value", None),
        ({KEY: "by-name", "PAYOS_API_KEY": "x"}, "by-name", None),
        ({KEY: "by-name", f"{KEY}_PREVIOUS": "the-old-one"}, "by-name", "the-old-one"),
        ({"current": "now", "previous": "the-old-one"}, "now", "the-old-one"),
        ({"something": "else"}, None, None),
        ('"a quoted text"', '"a quoted text"', None),
        ("12345", "12345", None),
        ({KEY: ["no", "text"]}, None, None),
    ],
)
def test_a_secret_may_be_text_or_json(cloud, environment_of, stored, current, previous):
    """A JSON secret contains a key with the variable's name, or the keys "current" and "previous".

    If it contains none of these keys, the variable is not set.
    """
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret(stored)})
    assert (environ.get(KEY), environ.get(f"{KEY}_PREVIOUS")) == (current, previous)
    expected = tuple(Secret(value) for value in (current, previous) if value)
    assert Settings.from_env(environ).secrets(KEY) == expected


def test_a_variable_overrides_its_secret(environment_of, counting):
    """If an environment variable is set directly, payctl does not call Secrets Manager."""
    environ = environment_of(**{KEY: "from-the-environment", f"{KEY}_SECRET_ARN": "arn:aws:secretsmanager:none"})
    assert (environ[KEY], environ.get(f"{KEY}_PREVIOUS"), environ.renew([KEY])) == ("from-the-environment", None, False)
    assert counting.calls == 0


def test_a_secret_is_read_when_it_is_first_used(cloud, environment_of, counting):
    """Creating the settings does not call AWS.

    When a secret is first used, one call sets all variables of this secret.
    """
    arn = cloud.secret({KEY: "a", "ZALOPAY_APP_ID": "b"})
    environ = environment_of(**{f"{KEY}_SECRET_ARN": arn, "ZALOPAY_APP_ID_SECRET_ARN": arn})
    services = Services(environ)
    assert (services.settings.batch_size, counting.calls, len(environ)) == (1000, 0, 2)
    assert (environ[KEY], environ["ZALOPAY_APP_ID"], counting.calls) == ("a", "b", 1)


def test_secrets_in_the_form_of_rds_and_msk_are_read(cloud, environment_of):
    """An RDS secret becomes a database URL. An MSK secret becomes a user name and a password."""
    environ = environment_of(
        DATABASE_URL_SECRET_ARN=cloud.secret(RDS, "rds"),
        KAFKA_USERNAME_SECRET_ARN=cloud.secret({"username": "u", "password": "p"}, "AmazonMSK_payctl"),
        KAFKA_PASSWORD_SECRET_ARN=cloud.secret({"username": "u", "password": "p"}, "AmazonMSK_payctl"),
    )
    database = Settings.from_env(environ).database
    assert (str(database.place), database.parameters["user"]) == ("db.internal:5433/payments", "payctl")
    assert database.secrets["password"] == Secret("p@ss/word 1")
    assert (environ["KAFKA_USERNAME"], environ["KAFKA_PASSWORD"]) == ("u", "p")


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (["dbname"], "has a username, but no dbname"),
        (["host"], "has a username, but no host"),
        (["host", "port", "dbname"], "has a username, but no host and no dbname"),
    ],
)
def test_a_secret_without_a_host_or_a_database_is_a_config_error(cloud, environment_of, absent, words):
    """The code does not guess the server or the database. The error names the missing field, and no value."""
    stored = {name: value for name, value in RDS.items() if name not in absent}
    environ = environment_of(DATABASE_URL_SECRET_ARN=cloud.secret(stored, "rds"))
    with pytest.raises(ConfigError, match=words) as raised:
        _ = Settings.from_env(environ).database
    assert "p@ss" not in f"{raised.value.message} {raised.value.hint}"


@pytest.mark.parametrize("absent", [["username"], ["password"], ["port"], ["username", "host"]])
def test_a_secret_without_a_login_is_no_database_url(cloud, environment_of, absent):
    """If a secret has no user or no password, DATABASE_URL is not set. The port has a default."""
    stored = {name: value for name, value in RDS.items() if name not in absent}
    environ = environment_of(DATABASE_URL_SECRET_ARN=cloud.secret(stored, "rds"))
    expected = "postgresql://payctl:p%40ss%2Fword%201@db.internal:5432/payments" if absent == ["port"] else None
    assert environ.get("DATABASE_URL") == expected


def test_a_secret_is_cached_for_five_minutes(cloud, environment_of, counting, clock):
    """A secret is read at most once in five minutes. After that time, the next use reads the current value."""
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret("first")})
    assert environ[KEY] == "first"
    cloud.secret("second")
    clock.now += KEPT_SECONDS - 1
    assert (environ[KEY], counting.calls) == ("first", 1)
    clock.now += 1
    assert (environ[KEY], counting.calls) == ("second", 2)


def test_a_secret_is_renewed_at_most_once_in_thirty_seconds(cloud, environment_of, counting, clock):
    """A thousand forged callbacks cause only one call to Secrets Manager. `renew` returns whether the value changed."""
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret("first")})
    assert environ[KEY] == "first"
    assert [environ.renew([KEY]) for _ in range(1000)] == [False] * 1000
    assert counting.calls == 2
    cloud.secret("second")
    clock.now += SHORTEST_BETWEEN
    assert (environ.renew([KEY]), environ[KEY], counting.calls) == (True, "second", 3)


def test_the_last_known_secret_is_used_during_an_outage(cloud, environment_of, counting, clock):
    """During an outage, payctl uses the last known secret.

    If payctl does not know a value, it raises UnavailableError.
    """
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret("first")})
    assert environ[KEY] == "first"
    counting.away = True
    clock.now += KEPT_SECONDS
    assert [environ[KEY] for _ in range(100)] == ["first"] * 100
    assert counting.calls == 2
    assert environ.renew([KEY]) is False
    with pytest.raises(UnavailableError, match="Secrets Manager"):
        environment_of(**{f"{KEY}_SECRET_ARN": "arn:aws:secretsmanager:other"}).get(KEY)


def test_a_missing_secret_is_a_config_error(environment_of):
    """A missing secret raises ConfigError with AWS's error code."""
    with pytest.raises(ConfigError, match="ResourceNotFoundException"):
        environment_of(**{f"{KEY}_SECRET_ARN": "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:no"}).get(KEY)


def test_a_binary_secret_is_a_config_error(cloud, environment_of):
    """A binary secret raises ConfigError, because payctl does not guess an encoding."""
    arn = cloud.client("secretsmanager").create_secret(Name="binary", SecretBinary=b"\x00\x01")["ARN"]
    with pytest.raises(ConfigError, match="not text"):
        environment_of(**{f"{KEY}_SECRET_ARN": arn}).get(KEY)


def test_secrets_that_were_read_are_redacted(cloud, environment_of):
    """Keys and URL passwords from Secrets Manager are masked in all later output.

    User names and host names are not masked.
    """
    fields = {KEY: "canary-of-a-key", "DATABASE_URL": "postgresql://u:canary-of-a-database@h/d", "host": "db.internal"}
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret(fields)})
    assert environ[KEY]
    said = redact("canary-of-a-key canary-of-a-database db.internal")
    assert said == "*** *** db.internal"
    assert "canary" not in repr(environ)
