"""Read settings from Secrets Manager. ``X_SECRET_ARN`` is the ARN of the secret that contains the value of ``X``.

A secret is a plain string or a JSON object. In an object, the value's key is the variable's name (``X``) or
``current``. During a rotation, the previous value has the key ``X_PREVIOUS`` or ``previous``. A secret with many
variables is fetched only once. payctl can also read the user and password from an MSK or RDS secret in AWS's own
format.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ticketbottle_payctl import logs, redaction
from ticketbottle_payctl.aws.client import make_client, translated
from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings.database_url import secrets_in

KEPT_SECONDS = 300.0
"""The time in seconds after which a secret is read again."""

SHORTEST_BETWEEN = 30.0
"""The minimum time in seconds between two early reads of a secret.

Every forged callback asks for an early read. Without a limit, many forged callbacks would cause many reads.
"""

_ARN, _PREVIOUS = "_SECRET_ARN", "_PREVIOUS"
_HIDDEN_FIELD = re.compile(r"secret|password|token|key|^current$|^previous$", re.IGNORECASE)
_MSK_FIELDS = {"KAFKA_USERNAME": "username", "KAFKA_PASSWORD": "password"}


@dataclass(slots=True)
class _Kept:
    text: Secret
    fetched: float
    renewed: float = float("-inf")
    missed: float = float("-inf")


class SecretEnvironment(Mapping[str, str]):
    """An environment that can read variables from Secrets Manager.

    A variable is read on first use if only its ARN is set.

    If the variable itself is set, its own value is used. Iteration yields only variables that are set, and fetches
    nothing. ``clock`` is the wall clock, because the monotonic clock can stop while a function is frozen. A lookup
    raises KeyError if the variable has no value. A lookup raises ConfigError if the role is not allowed to read the
    secret or the secret is not usable. A lookup raises UnavailableError if Secrets Manager is unavailable and no
    earlier value is known.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        client: Callable[[], Any] = lambda: make_client("secretsmanager", connect_s=1, read_s=2),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._environ = environ
        self._make_client = client
        self._client: Any = None
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def __getitem__(self, name: str) -> str:
        value = self._environ.get(name)
        if value:
            return value
        found = self._looked_up(name)
        if found is None:
            return self._environ[name]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def load_client(self) -> None:
        """Create the Secrets Manager client if any variable refers to a secret. No request is sent.

        Raises:
            ConfigError: botocore is not installed, or the region is not set.
        """
        if self._client is None and any(value and name.endswith(_ARN) for name, value in self._environ.items()):
            self._client = self._make_client()

    def renew(self, names: Iterable[str]) -> bool:
        """Read the secrets of these variables again. Return whether a value has changed.

        Each secret is read at most once in :data:`SHORTEST_BETWEEN` seconds. If Secrets Manager cannot be read, the
        values stay unchanged and no error is raised.
        """
        changed = False
        for arn in {arn for name in names if (arn := self._arn(name))}:
            kept, now = self._kept.get(arn), self._clock()
            if kept is None or abs(now - kept.renewed) < SHORTEST_BETWEEN:
                continue
            kept.renewed = now
            try:
                changed |= self._fetch(arn).text != kept.text
            except (ConfigError, UnavailableError) as error:
                logs.log_event("secret_not_renewed", level="warning", secret_arn=arn, error=error)
        return changed

    def _arn(self, name: str) -> str | None:
        return None if self._environ.get(name) else self._environ.get(name + _ARN) or None

    def _looked_up(self, name: str) -> str | None:
        if name.endswith(_ARN):
            return None
        arn = self._arn(name)
        if arn:
            return _value(self._text(arn), name, name, "current")
        variable = name.removesuffix(_PREVIOUS)
        arn = self._arn(variable) if variable != name else None
        return _value(self._text(arn), variable, name, "previous") if arn else None

    def _text(self, arn: str) -> str:
        kept, now = self._kept.get(arn), self._clock()
        if kept is not None and abs(now - kept.fetched) < KEPT_SECONDS:
            return kept.text.reveal()
        if kept is not None and abs(now - kept.missed) < SHORTEST_BETWEEN:
            return kept.text.reveal()
        try:
            return self._fetch(arn).text.reveal()
        except UnavailableError as error:
            if kept is None:
                raise
            kept.missed = now
            logs.log_event("secret_not_renewed", level="warning", secret_arn=arn, error=error)
            return kept.text.reveal()

    def _fetch(self, arn: str) -> _Kept:
        try:
            if self._client is None:
                self._client = self._make_client()
            answer = self._client.get_secret_value(SecretId=arn)
        except ConfigError:
            raise
        except Exception as error:
            raise translated(error, "a secret cannot be read from Secrets Manager") from error
        text = answer.get("SecretString")
        if not isinstance(text, str):
            message = "a secret in Secrets Manager is not text"
            raise ConfigError(message, hint="store a string or a JSON object, not binary data")
        before = self._kept.get(arn)
        kept = self._kept[arn] = _Kept(Secret(text), self._clock())
        if before is not None:
            kept.renewed = before.renewed
        _hide(text)
        return kept


def _value(text: str, variable: str, name: str, field: str) -> str | None:
    """Return the value for ``name`` from a secret.

    The name is ``variable``, or ``variable`` with ``_PREVIOUS`` appended.
    """
    fields = _fields(text)
    if fields is None:
        return text if field == "current" else None
    found = fields.get(name, fields.get(field))
    if found is None and field == "current":
        found = _database_url(fields) if variable == "DATABASE_URL" else fields.get(_MSK_FIELDS.get(variable, ""))
    return str(found) if isinstance(found, str | int) else None


def _fields(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _database_url(fields: Mapping[str, Any]) -> str | None:
    """Build the database URL from an RDS secret, or return None if it has no user or no password.

    Raises:
        ConfigError: the secret has a user and a password, but not the host or the database's name.
    """
    user, password, host, database = (fields.get(name) for name in ("username", "password", "host", "dbname"))
    if not (user and password):
        return None
    absent = [name for name, value in (("host", host), ("dbname", database)) if not value]
    if absent:
        message = f"the secret for DATABASE_URL has a username, but no {' and no '.join(absent)}"
        raise ConfigError(
            message, hint=f"add {' and '.join(absent)} to the secret, or replace its fields with DATABASE_URL"
        )
    port = fields.get("port", 5432)
    return f"postgresql://{quote(str(user), safe='')}:{quote(str(password), safe='')}@{host}:{port}/{database}"


def _hide(text: str) -> None:
    """Register a secret's values, and the passwords in URLs among them, so that logs and errors do not show them."""
    fields = _fields(text)
    hidden = {"": text} if fields is None else {name: value for name, value in fields.items() if isinstance(value, str)}
    for name, value in hidden.items():
        if fields is None or _HIDDEN_FIELD.search(name):
            redaction.register(Secret(value))
        for secret in secrets_in(value):
            redaction.register(secret)
