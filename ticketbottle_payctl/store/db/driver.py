"""Send BEGIN together with the first statement, to save a round trip.

By default the driver sends ``BEGIN`` separately and waits for the reply. This module's connection is in autocommit
mode, so the driver does not send ``BEGIN``. :mod:`ticketbottle_payctl.store.db.engine` puts ``BEGIN`` in front of the
first statement. On commit or rollback, the connection ends the transaction if the server reports one as open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, parse_dsn

from ticketbottle_payctl.settings.database_url import spellings

BEGIN = "BEGIN"
_SHORTEST_PIECE = 3
_SECRETS = ("password", "sslpassword")


class Connection(connection):  # type: ignore[misc]  # the driver has no types
    """A connection in SQLAlchemy's pool. A transaction is open only after a statement that begins with ``BEGIN``."""

    def __init__(self, dsn: str, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - the driver's own
        with redacted(parse_dsn(dsn)):
            try:
                super().__init__(dsn, *arguments, **settings)
            except psycopg2.Error:
                self.close()  # otherwise the server would wait for the client until the error object is freed
                raise
        self.autocommit = True

    def commit(self) -> None:
        """Commit the open transaction. Raise an error on a broken connection, because the commit may have failed."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Roll back the open transaction."""
        self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        if self.info.transaction_status == TRANSACTION_STATUS_IDLE:
            return
        with self.cursor() as cursor:
            cursor.execute(how)


@contextmanager
def redacted(parameters: Mapping[str, str]) -> Iterator[None]:
    """Mask the passwords in libpq's error messages.

    If a password contains reserved characters, also mask the parts between them. Do not mask a text of fewer than three
    characters.
    """
    try:
        yield
    except psycopg2.Error as error:
        pieces = {piece for name in _SECRETS for piece in spellings(parameters.get(name) or "")}
        hidden = sorted((each for each in pieces if len(each) >= _SHORTEST_PIECE), key=len, reverse=True)
        if not hidden:
            raise
        text = re.sub("|".join(map(re.escape, hidden)), "***", str(error))
        raise type(error)(text) from None
