"""Read the identity of the database server. Commands check the identity before they change data."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect.server import Identity, identity

_QUICK = Limits(statement=timedelta(seconds=5))


def server_identity(engine: Engine) -> Identity:
    """Return the server's system identifier and the database's name.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: the connection settings are invalid.
    """
    with transaction(engine, _QUICK, commit=False) as connection:
        return identity(connection)
