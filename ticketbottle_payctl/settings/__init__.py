"""Read the settings from the environment. This module defines every default.

payctl uses the same variable names as the deployed payment service. payctl's own variables begin with ``PAYCTL_``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings.brokers import brokers
from ticketbottle_payctl.settings.database import TRUSTED_ENVIRONMENTS, DatabaseSettings

__all__ = ["DatabaseSettings", "KafkaSettings", "Settings"]

_MECHANISMS = frozenset({"plain", "scram-sha-256", "scram-sha-512", "aws-iam"})
_PRODUCTION = frozenset({"prod", "production", "prd", "live"})
_NOT_YET = frozenset({"non", "nonprod", "nonproduction", "not", "pre", "preprod", "preproduction"})
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The settings for connecting to the brokers. ``mechanism`` is a name that kafkajs uses."""

    brokers: str
    ssl: bool = False
    mechanism: str | None = None
    username: str | None = None
    password: Secret | None = field(default=None)
    ca_file: str | None = None
    client_id: str = "payctl"
    region: str | None = None
    """The AWS region, which is used only if the brokers' host names do not contain a region."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    ``database`` and ``kafka`` are read on each use, and raise an error if they are not set.
    """

    environ: Mapping[str, str] = field(repr=False)
    environment: str
    log_level: str
    batch_size: int
    max_retries: int
    retention: timedelta
    shards: int
    loop: timedelta
    """How long the publisher's function publishes in one invocation.

    If this is zero, the function drains the backlog once.
    """
    reconcile_cap: int
    """The maximum number of payments that one scheduled run of `reconcile payments` is allowed to settle."""
    dead_events_queue: str | None
    """The SQS queue that receives the id of each dead event."""
    alerts_topic: str | None
    """The SNS topic for alerts to operators."""

    @property
    def is_production(self) -> bool:
        """Return whether ``ENVIRONMENT`` is any spelling of production."""
        # The pattern matches PRODUCTION, prod-eu, Prod2, eu_live and full-width letters. A change of case ends a word,
        # so ProdEu matches too.
        spelled = re.sub("(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", self.environment))
        words = set(re.findall("[a-z]+", spelled.casefold()))
        return bool(words & _PRODUCTION) and not words & _NOT_YET

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings from ``environ`` once.

        Raises:
            ConfigError: a value is invalid. The message contains the variable's name, but never its value.
        """
        return cls(
            environ=environ,
            environment=environ.get("ENVIRONMENT", "dev"),
            log_level=_choice(environ, "LOG_LEVEL", "info", {"debug", "info", "warn", "warning", "error"}),
            batch_size=_whole(environ, "OUTBOX_BATCH_SIZE", 1000, 1, 50_000),
            max_retries=_whole(environ, "OUTBOX_MAX_RETRIES", 5, 1, 1000),
            retention=timedelta(days=_whole(environ, "OUTBOX_RETENTION_DAYS", 7, 1, 3650)),
            shards=_whole(environ, "PAYCTL_SHARDS", 1, 1, 64),
            loop=timedelta(seconds=_whole(environ, "PAYCTL_LOOP_SECONDS", 50, 0, 840)),
            reconcile_cap=_whole(environ, "PAYCTL_RECONCILE_MAX_PAYMENTS", 200, 1, 100_000),
            dead_events_queue=environ.get("PAYCTL_DEAD_EVENTS_QUEUE_URL") or None,
            alerts_topic=environ.get("PAYCTL_ALERTS_TOPIC_ARN") or None,
        )

    @property
    def database(self) -> DatabaseSettings:
        """Return the database settings from ``DATABASE_URL`` (parsed as Prisma parses it) and the PGSSL variables.

        Raises:
            ConfigError: the URL is missing or invalid, or a PGSSL variable is invalid.
        """
        url = Secret(_required(self.environ, "DATABASE_URL"))
        return DatabaseSettings(url, self.environ, pooled=_flag(self.environ, "PAYCTL_DB_POOL", default=True))

    @property
    def kafka(self) -> KafkaSettings:
        """Return the broker settings from the ``KAFKA_*`` variables.

        Raises:
            ConfigError: the list of brokers is empty or invalid, the mechanism is unknown, or the credentials are
                missing or would be sent without encryption.
        """
        return _kafka(self.environ)

    def secrets(self, name: str) -> tuple[Secret, ...]:
        """Return the value of the variable ``name``.

        During a rotation, also return the value of its ``_PREVIOUS`` variable. Omit unset variables.
        """
        names = (name, f"{name}_PREVIOUS")
        return tuple(Secret(value, origin) for origin in names if (value := self.environ.get(origin)))


def _kafka(environ: Mapping[str, str]) -> KafkaSettings:
    listed = brokers(_required(environ, "KAFKA_BROKERS"))
    mechanism = environ.get("KAFKA_SASL_MECHANISM", "").lower() or None
    if mechanism is not None and mechanism not in _MECHANISMS:
        message = f"KAFKA_SASL_MECHANISM is not one of {', '.join(sorted(_MECHANISMS))}"
        raise ConfigError(message)
    username, password = environ.get("KAFKA_USERNAME"), environ.get("KAFKA_PASSWORD")
    if mechanism not in {None, "aws-iam"} and not (username and password):
        message = f"KAFKA_SASL_MECHANISM is {mechanism}, but KAFKA_USERNAME or KAFKA_PASSWORD is not set"
        raise ConfigError(message)
    environment = environ.get("ENVIRONMENT", "dev")
    ssl = _flag(environ, "KAFKA_SSL", default=False) or mechanism == "aws-iam"
    if mechanism is not None and not ssl and environment not in TRUSTED_ENVIRONMENTS:
        message = f"KAFKA_SASL_MECHANISM is {mechanism} without KAFKA_SSL: the credentials would not be encrypted"
        raise ConfigError(message, hint="set KAFKA_SSL=true; only ENVIRONMENT=dev, local or test may omit it")
    return KafkaSettings(
        brokers=listed,
        ssl=ssl,
        mechanism=mechanism,
        username=username,
        password=Secret(password) if password else None,
        ca_file=environ.get("KAFKA_CA_FILE") or None,
        client_id=environ.get("KAFKA_CLIENT_ID") or f"payctl-{environment}",
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
    )


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        message = f"{name} is not set"
        hint = f"export {name}; or run `payctl demo --keep`, and paste the `source` line that it prints into this shell"
        raise ConfigError(message, hint=hint)
    return value


def _whole(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= most):
        message = f"{name} is not a whole number from {least} to {most}"
        raise ConfigError(message)
    return int(text)


def _choice(environ: Mapping[str, str], name: str, default: str, allowed: set[str]) -> str:
    value = environ.get(name, "").strip().lower() or default
    if value not in allowed:
        message = f"{name} is not one of {', '.join(sorted(allowed))}"
        raise ConfigError(message)
    return value


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in _TRUE:
        return True
    if value.strip().lower() in _FALSE:
        return False
    message = f"{name} is neither true nor false"
    raise ConfigError(message)
