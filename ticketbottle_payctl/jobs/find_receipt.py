"""Find the request that a receipt contains, so that it can be processed again."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import receipts
from ticketbottle_payctl.store.payctl.receipts import StoredRequest

_LIMITS = Limits(statement=timedelta(seconds=5), lock=timedelta(seconds=3))
"""The lock limit is shorter, because only the error of a lock timeout says that another session holds a lock."""


def find_receipt(engine: Engine, receipt_id: str) -> StoredRequest:
    """Return the gateway and the request of a receipt.

    Raises:
        NotFoundError: no receipt has this id.
        ConfigError: payctl's schema or a privilege is missing.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        stored = receipts.find_request(connection, receipt_id)
    if stored is None:
        message = "no receipt has this id"
        raise NotFoundError(message, hint="`payctl list receipts` lists the ids")
    return stored


def require_receipts(engine: Engine) -> None:
    """Raise an error if payctl cannot store callbacks.

    Raises:
        ConfigError: payctl's schema or a privilege is missing.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        receipts.require(connection)
