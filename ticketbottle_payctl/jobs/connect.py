"""Connect to the database before the first request needs a connection."""

from __future__ import annotations

from sqlalchemy import Engine

from ticketbottle_payctl.store.db.engine import Limits, load_driver, transaction

__all__ = ["connect", "load_driver"]


def connect(engine: Engine) -> None:
    """Open one connection and put it into the engine's pool.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: the connection settings are invalid.
    """
    with transaction(engine, Limits(), commit=False) as connection:
        connection.exec_driver_sql("SELECT 1")
