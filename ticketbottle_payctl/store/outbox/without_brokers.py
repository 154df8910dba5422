"""Record in ``payctl.publishers`` that a publisher cannot reach its brokers, so that other commands can say so.

Such a publisher holds no shard, and may never have held one. Therefore the publisher writes a row that does not belong
to a shard. The row names the last publisher that could not reach its brokers.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.outbox.shard_lock import NO_BROKERS_PLACE, write_owner

_WAITS = " cannot reach its brokers: "
_ENDED = " ended without its brokers: "
_REACHED = " reached its brokers"
_MOST_CHARACTERS = 300


class Noted(NamedTuple):
    """A publisher's name, the error from its brokers, and whether it has ended."""

    owner: str
    error: str
    ended: bool


def note(connection: Connection, owner: str, error: str, *, ended: bool) -> None:
    """Record that a publisher cannot reach its brokers now. ``ended`` is True if the publisher has ended."""
    first_line = redact(error).partition("\n")[0][:_MOST_CHARACTERS]
    text = f"{owner}{_ENDED if ended else _WAITS}{first_line}"
    write_owner(connection, NO_BROKERS_PLACE, text)


def clear(connection: Connection, owner: str) -> None:
    """Record that a publisher can reach its brokers again. Change nothing if the row names another publisher."""
    connection.exec_driver_sql(
        "UPDATE payctl.publishers SET owner = %(reached)s WHERE shard = %(place)s AND starts_with(owner, %(waits)s)",
        {"reached": owner + _REACHED, "place": NO_BROKERS_PLACE, "waits": owner + _WAITS},
    )


def read(text: str) -> Noted | None:
    """Return what :func:`note` recorded, or None if the publisher has reached its brokers since."""
    for mark in (_WAITS, _ENDED):
        owner, found, error = text.partition(mark)
        if found:
            return Noted(owner, error, mark == _ENDED)
    return None
