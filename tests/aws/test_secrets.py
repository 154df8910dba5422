"""Secrets as Secrets Manager keeps them, on moto's server."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.aws.client import make_client
from ticketbottle_payctl.aws.secrets import KEPT_SECONDS, SHORTEST_BETWEEN, SecretEnvironment
from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.telemetry import redact
from ticketbottle_payctl.wiring import Services

KEY = "ZALOPAY_KEY2"
RDS = {"username": "payctl", "password": "p@ss/word 1", "host": "db.internal", "port": 5433, "dbname": "payments"}


class Counting:
    """The real client, its calls counted; ``away`` makes it fail as a network does."""

    def __init__(self):
        self.client = make_client("secretsmanager")
        self.calls = 0
        self.away = False

    def get_secret_value(self, **arguments):
        """As the client's."""
        self.calls += 1
        if self.away:
            message = "Could not connect to the endpoint URL"
            raise OSError(message)
        return self.client.get_secret_value(**arguments)


@pytest.fixture
def counting(cloud):
    """The client of one test."""
    assert cloud
    return Counting()


@pytest.fixture
def environment_of(counting, clock):
    """``environment_of(X="...")``: an environment that reads its secrets with the counting client."""
    return lambda **environ: SecretEnvironment(environ, client=lambda: counting, clock=clock)


@pytest.mark.parametrize(
    ("stored", "current", "previous"),
    [
        ("one-plain-value", "one-plain-value", None),
        ({KEY: "by-name", "PAYOS_API_KEY": "x"}, "by-name", None),
        ({KEY: "by-name", f"{KEY}_PREVIOUS": "before"}, "by-name", "before"),
        ({"current": "now", "previous": "before"}, "now", "before"),
        ({"something": "else"}, None, None),
        ('"a quoted text"', '"a quoted text"', None),
        ("12345", "12345", None),
        ({KEY: ["no", "text"]}, None, None),
    ],
)
def test_a_secret_is_a_text_or_an_object_with_the_value(cloud, environment_of, stored, current, previous):
    """Under the variable's own name or as current and previous; what is not there is a gateway that is off."""
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret(stored)})
    assert (environ.get(KEY), environ.get(f"{KEY}_PREVIOUS")) == (current, previous)
    expected = tuple(Secret(value) for value in (current, previous) if value)
    assert Settings.from_env(environ).secrets(KEY) == expected


def test_what_is_set_wins_over_the_secret(environment_of, counting):
    """Nothing is asked then."""
    environ = environment_of(**{KEY: "from-the-environment", f"{KEY}_SECRET_ARN": "arn:aws:secretsmanager:none"})
    assert (environ[KEY], environ.get(f"{KEY}_PREVIOUS"), environ.renew([KEY])) == ("from-the-environment", None, False)
    assert counting.calls == 0


def test_nothing_is_asked_before_it_is_needed(cloud, environment_of, counting):
    """Settings and services are made without a call; one call serves every variable of one secret."""
    arn = cloud.secret({KEY: "a", "ZALOPAY_APP_ID": "b"})
    environ = environment_of(**{f"{KEY}_SECRET_ARN": arn, "ZALOPAY_APP_ID_SECRET_ARN": arn})
    services = Services(environ)
    assert (services.settings.batch_size, counting.calls, len(environ)) == (1000, 0, 2)
    assert (environ[KEY], environ["ZALOPAY_APP_ID"], counting.calls) == ("a", "b", 1)


def test_what_aws_itself_stores_is_understood(cloud, environment_of):
    """An RDS secret is a database's URL; one of MSK has a user and a password."""
    environ = environment_of(
        DATABASE_URL_SECRET_ARN=cloud.secret(RDS, "rds"),
        KAFKA_USERNAME_SECRET_ARN=cloud.secret({"username": "u", "password": "p"}, "AmazonMSK_payctl"),
        KAFKA_PASSWORD_SECRET_ARN=cloud.secret({"username": "u", "password": "p"}, "AmazonMSK_payctl"),
    )
    database = Settings.from_env(environ).database
    assert (str(database.place), database.parameters["user"]) == ("db.internal:5433/payments", "payctl")
    assert database.secrets["password"] == Secret("p@ss/word 1")
    assert (environ["KAFKA_USERNAME"], environ["KAFKA_PASSWORD"]) == ("u", "p")


def test_a_value_is_kept_for_five_minutes(cloud, environment_of, counting, clock):
    """And then it is the one that holds by then."""
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret("first")})
    assert environ[KEY] == "first"
    cloud.secret("second")
    clock.now += KEPT_SECONDS - 1
    assert (environ[KEY], counting.calls) == ("first", 1)
    clock.now += 1
    assert (environ[KEY], counting.calls) == ("second", 2)


def test_a_thousand_forged_callbacks_are_one_call_in_thirty_seconds(cloud, environment_of, counting, clock):
    """Renewal is bounded whoever asks for it, and says whether there is anything new."""
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret("first")})
    assert environ[KEY] == "first"
    assert [environ.renew([KEY]) for _ in range(1000)] == [False] * 1000
    assert counting.calls == 2
    cloud.secret("second")
    clock.now += SHORTEST_BETWEEN
    assert (environ.renew([KEY]), environ[KEY], counting.calls) == (True, "second", 3)


def test_the_last_known_value_serves_while_secrets_manager_is_away(cloud, environment_of, counting, clock):
    """It is asked again every thirty seconds only; without a known value it is an outage."""
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret("first")})
    assert environ[KEY] == "first"
    counting.away = True
    clock.now += KEPT_SECONDS
    assert [environ[KEY] for _ in range(100)] == ["first"] * 100
    assert counting.calls == 2
    assert environ.renew([KEY]) is False
    with pytest.raises(UnavailableError, match="Secrets Manager"):
        environment_of(**{f"{KEY}_SECRET_ARN": "arn:aws:secretsmanager:other"}).get(KEY)


def test_a_secret_that_is_not_there_is_a_wrong_setting(environment_of):
    """The message has AWS's word for it."""
    with pytest.raises(ConfigError, match="ResourceNotFoundException"):
        environment_of(**{f"{KEY}_SECRET_ARN": "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:no"}).get(KEY)


def test_a_binary_secret_is_a_wrong_setting(cloud, environment_of):
    """It is said, and not guessed at."""
    arn = cloud.client("secretsmanager").create_secret(Name="binary", SecretBinary=b"\x00\x01")["ARN"]
    with pytest.raises(ConfigError, match="not text"):
        environment_of(**{f"{KEY}_SECRET_ARN": arn}).get(KEY)


def test_what_was_read_is_never_seen(cloud, environment_of):
    """Values of keys and the passwords in URLs are blanked from then on; names of people and hosts are not."""
    fields = {KEY: "canary-of-a-key", "DATABASE_URL": "postgresql://u:canary-of-a-database@h/d", "host": "db.internal"}
    environ = environment_of(**{f"{KEY}_SECRET_ARN": cloud.secret(fields)})
    assert environ[KEY]
    said = redact("canary-of-a-key canary-of-a-database db.internal")
    assert said == "*** *** db.internal"
    assert "canary" not in repr(environ)
