"""Create the real engine, producer and clock. Only this module creates them.

Modules are imported on first use. Therefore the webhook's function never loads the Kafka client, and
``verify-signature`` never loads SQLAlchemy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ticketbottle_payctl import redaction
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.settings.database_url import secrets_in

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ticketbottle_payctl.broker.producer import Producer
    from ticketbottle_payctl.providers.gateway import Credentials, Gateway

_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|_KEY\d?(?:_PREVIOUS)?$")


def utc_now() -> datetime:
    """Return the current time in UTC, from the machine's clock."""
    return datetime.now(UTC)


class Services:
    """The resources that jobs need. Each resource is created on first use.

    The owner of this object must call :meth:`close`. ``secrets`` returns the values of a credential's variable, current
    value first. By default, ``secrets`` reads the environment. If the caller passes an ``engine``, this object uses it
    but does not close it. ``application`` is the application name of payctl's sessions in ``pg_stat_activity``.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        now: Callable[[], datetime] = utc_now,
        secrets: Callable[[str], tuple[Secret, ...]] | None = None,
        engine: Engine | None = None,
        application: str = "payctl",
    ) -> None:
        self.environ = environ
        self.now = now
        self._secrets = secrets
        self._application = application
        self._open = ExitStack()
        if engine is not None:
            self.__dict__["engine"] = engine
        hide_secrets(environ)

    @cached_property
    def settings(self) -> Settings:
        """Return the settings, which are read once from the environment.

        Raises:
            ConfigError: a value is invalid.
        """
        return Settings.from_env(self.environ)

    @cached_property
    def engine(self) -> Engine:
        """Return the engine for the payment service's database. The engine connects when a job first uses it.

        Raises:
            ConfigError: ``DATABASE_URL`` is missing or invalid.
        """
        database = self.settings.database
        from ticketbottle_payctl.store.db.engine import make_engine  # noqa: PLC0415 - SQLAlchemy, only if it is used

        engine = make_engine(database, application=self._application)
        self._open.callback(engine.dispose)
        return engine

    @cached_property
    def producer(self) -> Producer:
        """Return the Kafka producer, which connects when a job first uses it.

        Raises:
            ConfigError: a ``KAFKA_*`` variable is missing or invalid.
        """
        kafka = self.settings.kafka
        from ticketbottle_payctl.broker.config import producer_config  # noqa: PLC0415 - the Kafka client, likewise
        from ticketbottle_payctl.broker.producer import Producer  # noqa: PLC0415

        producer = Producer(producer_config(kafka))
        self._open.callback(producer.close)
        return producer

    def on_close(self, close: Callable[[], object]) -> None:
        """Call ``close`` when this object is closed."""
        self._open.callback(close)

    def credentials(self, gateway: Gateway) -> Credentials:
        """Return the merchant's credentials for a gateway. The tuples are empty if the gateway is not configured."""
        from ticketbottle_payctl import providers  # noqa: PLC0415 - most commands never need it

        return providers.credentials(gateway, self._secrets or self.settings.secrets)

    def close(self) -> None:
        """Close all resources that were opened. Closing twice is not an error."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hide_secrets(environ: Mapping[str, str]) -> None:
    """Register the secrets in an environment, so that log lines, errors and tracebacks do not show them."""
    for name, value in environ.items():
        if value and _SECRET_NAME.search(name) and not name.endswith("_ARN"):
            redaction.register(Secret(value))
    for secret in secrets_in(environ.get("DATABASE_URL", "")):
        redaction.register(secret)
