"""The driver's connection, one round trip shorter: a transaction's BEGIN travels with its first statement.

The driver would send ``BEGIN`` alone and wait for the answer. Here it begins nothing by itself (its autocommit);
``BEGIN`` stands in front of the first statement (:mod:`ticketbottle_payctl.store.db.engine` puts it there), and this
connection ends what the server says is open.
"""

from __future__ import annotations

from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

BEGIN = "BEGIN"


class Connection(connection):  # type: ignore[misc]  # the driver has no types
    """What SQLAlchemy's pool holds. Nothing is open in it until a statement says ``BEGIN``."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - the driver's own
        super().__init__(*arguments, **settings)
        self.autocommit = True

    def commit(self) -> None:
        """Commit what is open. A connection that broke raises: nothing says that it was committed."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Undo what is open."""
        self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        if self.info.transaction_status == TRANSACTION_STATUS_IDLE:
            return
        with self.cursor() as cursor:
            cursor.execute(how)
