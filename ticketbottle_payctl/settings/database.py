"""Read the parameters for connecting to the payment service's database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import tls
from ticketbottle_payctl.settings.database_url import DatabaseUrl, parse
from ticketbottle_payctl.settings.place import DatabasePlace, place_of

_SCHEMA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")

_ELSEWHERE = frozenset({"host", "hostaddr", "port", "dbname", "user", "password", "schema"})
"""The parameters for the server, the database, the user or the schema. Other functions read these parameters."""

_COUNTS = frozenset(
    {
        *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("tcp_user_timeout", "sslcompression", "sslsni", "gssdelegation"),
    }
)
_CHOICES = {
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
}
_TEXTS = frozenset(
    {
        *("application_name", "fallback_application_name", "options", "passfile", "service"),
        *("krbsrvname", "gsslib"),
    }
)
LIBPQ = _COUNTS | set(_CHOICES) | _TEXTS
"""The libpq parameters that payctl passes on unchanged. The TLS parameters are in the ``tls`` module."""

PRISMA = frozenset(
    {
        *("connection_limit", "pool_timeout", "socket_timeout", "max_connection_lifetime"),
        *("max_idle_connection_lifetime", "single_use_connections", "pgbouncer"),
        *("statement_cache_size", "statement_cache_mode", "uselibpqcompat"),
    }
)
"""The parameters for Prisma's pool, statement cache and driver.

payctl ignores these parameters, because it has its own pool and does not prepare statements.
"""

_IGNORED = {
    "client_encoding": "payctl always uses UTF8",
    "replication": "payctl opens its own replication connection when it needs one",
}

TRUSTED_ENVIRONMENTS = frozenset({"dev", "local", "test"})
"""The values of ENVIRONMENT that accept an unprotected connection to a database or a broker."""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The settings for connecting to the database. Only this class parses the URL. Other code uses the URL's parts.

    PGSSLMODE and the other variables that the ``tls`` module reads come from ``environ``.

    Raises:
        ConfigError: the URL or one of its parameters is invalid. The message never contains a value.
    """

    url: InitVar[Secret]
    environ: InitVar[Mapping[str, str] | None] = None
    pooled: bool = True
    schema: str = field(init=False)
    place: DatabasePlace = field(init=False)
    parameters: Mapping[str, str] = field(init=False, repr=False)
    """libpq's parameters, except for the secret ones."""
    secrets: Mapping[str, Secret] = field(init=False, repr=False)
    """libpq's secret parameters, ``password`` and ``sslpassword``."""
    remarks: tuple[str, ...] = field(init=False, repr=False)
    """Warnings about the URL. A warning does not prevent a connection."""

    def __post_init__(self, url: Secret, environ: Mapping[str, str] | None) -> None:
        parts = parse(url.reveal())
        place = place_of(parts)
        given = parts.parameters
        security = tls.tls(given, environ or {})
        secrets = {"password": Secret(given["password"]) if given.get("password") else parts.password}
        secrets["sslpassword"] = Secret(given["sslpassword"]) if given.get("sslpassword") else None
        values = {
            "schema": _schema(given),
            "place": place,
            "parameters": {**_location(parts, place), **_handed_on(given), **security.parameters},
            "secrets": {name: secret for name, secret in secrets.items() if secret},
            "remarks": (*parts.remarks, *security.remarks, *_unknown(given)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _location(url: DatabaseUrl, place: DatabasePlace) -> dict[str, str]:
    """Return libpq's parameters for the servers, the database and the user.

    These parameters keep libpq from using PG variables and files.
    """
    hosts = (url.parameters.get("host") or url.host or "").split(",")
    if len(hosts) != len(place.servers):
        hosts = [host for host, _ in place.servers]
    addressed = bool(url.parameters.get("hostaddr"))
    found = {
        "host": ",".join(host or server for host, (server, _) in zip(hosts, place.servers, strict=True)),
        "hostaddr": url.parameters["hostaddr"] if addressed else "",
        "port": ",".join(port for _, port in place.servers),
        "dbname": place.database,
    }
    user = url.parameters.get("user") or url.user
    return {**found, "user": user} if user else found


def _handed_on(given: Mapping[str, str]) -> dict[str, str]:
    for name in _COUNTS & set(given):
        if not re.fullmatch(r"-?[0-9]{1,9}", given[name]):
            message = f"the {name} parameter of DATABASE_URL is not a whole number"
            raise ConfigError(message)
    for name, allowed in _CHOICES.items():
        if name in given and given[name] not in allowed:
            message = f"the {name} parameter of DATABASE_URL is not one of {', '.join(allowed)}"
            raise ConfigError(message)
    return {name: value for name, value in given.items() if name in LIBPQ}


def _schema(given: Mapping[str, str]) -> str:
    schema = given.get("schema") or "public"
    if not _SCHEMA_NAME.fullmatch(schema):
        message = "the schema parameter of DATABASE_URL is not a schema name"
        raise ConfigError(message)
    return schema


def _unknown(given: Mapping[str, str]) -> list[str]:
    remarks = []
    for name in sorted(set(given) - _ELSEWHERE - LIBPQ - PRISMA - tls.NAMES):
        shown = f"parameter {name}" if _PARAMETER_NAME.fullmatch(name) else "a parameter with an invalid name"
        why = _IGNORED.get(name, "neither libpq nor Prisma knows it")
        remarks.append(f"{shown} of DATABASE_URL is ignored: {why}")
    return remarks
