"""Check the certificate files and the packages that the settings need. No server is contacted."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import DatabaseSettings, KafkaSettings
from ticketbottle_payctl.settings.msk import contradictions
from ticketbottle_payctl.settings.named_file import fault, shown

_AUTHORITIES = "sslrootcert"
_VARIABLES = {
    _AUTHORITIES: "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
}
"""libpq's parameters that name a file or a directory, and the variable of each."""

_SYSTEM = "system"
"""The value of ``sslrootcert`` that means the CAs of libpq's own OpenSSL."""


def check_database_files(settings: DatabaseSettings, environ: Mapping[str, str]) -> None:
    """Check that the files for the database's TLS connection exist, and that the CA file contains certificates.

    Raises:
        ConfigError: a file cannot be used. The message names the setting and, unless DATABASE_URL has it, the file.
    """
    given = settings.parameters
    if given.get("sslmode") == "disable":
        return
    for name, variable in _VARIABLES.items():
        path = given.get(name) or environ.get(variable)
        origin = variable if path == environ.get(variable) else f"the {name} parameter of DATABASE_URL"
        if path and not (name == _AUTHORITIES and path == _SYSTEM):
            _check(name, path, origin, variable)


def check_kafka_client(settings: KafkaSettings) -> str:
    """Return the brokers, after creating the Kafka client's configuration as every command does.

    Raises:
        ConfigError: KAFKA_CA_FILE has no certificates, Amazon MSK does not accept the port or the login, or a package,
            the region or the AWS identity for aws-iam is missing. The message also says what to do.
    """
    wrong = list(contradictions(settings.brokers, settings.mechanism, encrypted=settings.ssl))
    if wrong:
        raise ConfigError("; ".join(wrong))
    try:
        connection_config(settings)
    except ConfigError as error:
        message = f"{error.message}: {error.hint}" if error.hint else error.message
        raise ConfigError(message) from error
    return settings.brokers


def _check(name: str, path: str, origin: str, variable: str) -> None:
    """Raise an error if the file is unusable. A path in DATABASE_URL is not shown, because the URL is a secret."""
    named = f"{origin} names {shown(path) if origin == variable else 'a file'}"
    if wrong := fault(path, directory=name == "sslcrldir"):
        message = f"{named}, which {wrong}: give an absolute path, and check the owner and mode"
        raise ConfigError(message)
    if name == _AUTHORITIES:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError) as error:  # OpenSSL's own error is also an OSError
            message = f"{named}, which contains no PEM certificates: give the CA that signed the server's certificate"
            raise ConfigError(message) from error
