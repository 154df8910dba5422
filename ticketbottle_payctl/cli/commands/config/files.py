"""Check the certificate files and the packages that the settings need. No server is contacted."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import DatabaseSettings, KafkaSettings
from ticketbottle_payctl.settings.msk import contradictions

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
        ConfigError: a file cannot be read. The message names the setting, and not the file.
    """
    given = settings.parameters
    if given.get("sslmode") == "disable":
        return
    for name, variable in _VARIABLES.items():
        path = given.get(name) or environ.get(variable)
        origin = variable if path == environ.get(variable) else f"the {name} parameter of DATABASE_URL"
        if path and not (name == _AUTHORITIES and path == _SYSTEM):
            _check(name, path, origin)


def check_kafka_client(settings: KafkaSettings) -> str:
    """Return the brokers, after creating the Kafka client's configuration as every command does.

    Raises:
        ConfigError: KAFKA_CA_FILE has no certificates, or aws-iam lacks its packages, a region or an AWS identity; or
            Amazon MSK does not have the port or the login. The message also says what to do.
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


def _check(name: str, path: str, origin: str) -> None:
    # os.access comes first, because Path.is_file raises an error for a name that is too long.
    wanted = Path.is_dir if name == "sslcrldir" else Path.is_file
    if not (os.access(path, os.R_OK) and wanted(Path(path))):
        message = f"{origin} names a file that cannot be read: give an absolute path, and check its owner and mode"
        raise ConfigError(message)
    if name == _AUTHORITIES:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError) as error:  # OpenSSL's own error is also an OSError
            message = f"{origin} is not a file of PEM certificates: give the CA that signed the server's certificate"
            raise ConfigError(message) from error
