"""Check the configuration from environment variables, DATABASE_URL and the profiles file."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress

from tests.fuzz.draw import Draw
from tests.fuzz.oracle import CANARIES, KEYS, is_text, keeps_secrets, only
from tests.fuzz.scratch import file_with
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.cli.commands.config.names import DEFAULTED
from ticketbottle_payctl.cli.profile import profiles
from ticketbottle_payctl.cli.profile.guard_in_force import in_force
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.settings.database import DatabaseSettings
from ticketbottle_payctl.settings.database_url import secrets_in
from ticketbottle_payctl.settings.place import leads_to
from ticketbottle_payctl.settings.time_zone import machine_zone

VARIABLES = (
    *("DATABASE_URL", "KAFKA_BROKERS", "KAFKA_SASL_MECHANISM", "KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_SSL"),
    *("KAFKA_CLIENT_ID", *DEFAULTED, "PAYCTL_DB_POOL"),
    *("PAYCTL_DEAD_EVENTS_QUEUE_URL", "PAYCTL_ALERTS_TOPIC_ARN", "PGSSLMODE", "PGREQUIRESSL"),
    *("PGSSLROOTCERT", "PGCHANNELBINDING", "PGGSSENCMODE", "PGSSLMINPROTOCOLVERSION", "PGREQUIREAUTH", "TZ"),
    *("AWS_REGION", "KAFKA_SASL_MECHANISM", *KEYS),
)
_HIDDEN_IN_URL = re.compile(r"\A[^:/?#@]*://[^:/?#@]*:([^@]*@)+")
_URL = "postgresql://u@h/d"


def environment(data: bytes) -> None:
    """Assert that any environment produces settings, or an error that names a variable but does not show its value."""
    draw, environ = Draw(data), {}
    while draw.left:
        name = draw.pick(VARIABLES)
        environ[name] = draw.variable()
    with only(ConfigError):
        settings = Settings.from_env(environ)
        assert 1 <= settings.batch_size <= 50_000
        assert settings.is_production in {True, False}
        for name in KEYS:
            assert all(settings.secrets(name))
        keeps_secrets(repr([settings.secrets(name) for name in KEYS]))
    with only(ConfigError):
        _ = Settings.from_env(environ).database
    with only(ConfigError):
        kafka = Settings.from_env(environ).kafka
        keeps_secrets(repr(kafka), given=" ".join(value for name, value in environ.items() if name != "KAFKA_PASSWORD"))
        if kafka.mechanism != "aws-iam":  # aws-iam would look for credentials on this machine
            assert all(":" in each for each in producer_config(kafka)["bootstrap.servers"].split(","))
    with only(ConfigError):
        assert machine_zone({"TZ": environ.get("TZ", "")})


def database_url(data: bytes) -> None:
    """Assert that any DATABASE_URL produces connection parameters, or an error that quotes nothing from the URL."""
    draw = Draw(data)
    text = draw.utf8()
    environ = {"PGSSLMODE": draw.variable(), "PGSSLROOTCERT": draw.variable()} if draw.left else {}
    place = leads_to(text)
    if place is not None:
        assert place.may_be(place)
        assert all(port.isdigit() for _, port in place.servers)
        hidden = _HIDDEN_IN_URL.match(text)
        if hidden:
            user, _, password = hidden[0].partition("//")[2].partition(":")
            keeps_secrets(str(place), given=f"{user} {text[hidden.end() :]}" if password else text)
    found = [each.reveal() for each in secrets_in(text)]
    assert len(found) <= len(text) + 2
    with only(ConfigError):
        settings = DatabaseSettings(Secret(text), environ)
        # The error shows the name of an unknown parameter, because it may be misspelled.
        named = " ".join(pair.partition("=")[0] for pair in re.split("[?&]", text)[1:])
        keeps_secrets(f"{settings.remarks} {settings.secrets}", given=named)
        assert not {"password", "sslpassword"} & settings.parameters.keys()
        for each in (*settings.parameters, *settings.parameters.values()):
            is_text(each)


def profiles_file(data: bytes) -> None:
    """Assert that any profiles file either can be read or is refused with an error that does not show any value."""
    path = file_with(data, "config.toml")
    shown = _names_a_secret(data)
    with suppress(ConfigError) if shown else only(ConfigError):
        for each in profiles.every(path):
            _ = each.misled, repr(each)
    with suppress(ConfigError) if shown else only(ConfigError):
        names = profiles.names(path)
        for name in names[:4]:
            profile = profiles.load(name, str(path), {"DATABASE_URL": _URL, "KAFKA_BROKERS": "h:1"})
            guard = in_force(profile, str(path), {})
            assert guard.cap(1000).most >= 1
            assert guard.profiles
            keeps_secrets(repr(profile) if not shown else "", given=profile.tz or "")
            _ = guard.on_server("7", "d").protected, profile.misled


def _names_a_secret(data: bytes) -> bool:
    """Return whether the name of a table or key contains the secret. An error is allowed to show that name."""
    try:
        document = tomllib.loads(data.decode())
    except ValueError:
        return False
    waiting: list[object] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if CANARIES.seen_in(" ".join(value)):
                return True
            waiting.extend(value.values())
    return False
