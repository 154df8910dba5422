"""The driver's connection with one round trip less: BEGIN is sent in the message of a transaction's first statement.

The driver would send ``BEGIN`` alone and wait for the answer. Here the driver runs in autocommit and begins nothing.
:mod:`ticketbottle_payctl.store.db.engine` puts ``BEGIN`` in front of the first statement, and this connection ends the
transaction that the server reports as open.
"""

from __future__ import annotations

from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

BEGIN = "BEGIN"


class Connection(connection):  # type: ignore[misc]  # the driver has no types
    """The connection in SQLAlchemy's pool. No transaction is open until a statement says ``BEGIN``."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - the driver's own
        super().__init__(*arguments, **settings)
        self.autocommit = True

    def commit(self) -> None:
        """Commit the open transaction. A broken connection raises, because nothing says that the commit happened."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Roll the open transaction back."""
        self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        if self.info.transaction_status == TRANSACTION_STATUS_IDLE:
            return
        with self.cursor() as cursor:
            cursor.execute(how)
