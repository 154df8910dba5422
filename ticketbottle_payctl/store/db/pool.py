"""Which pooled connections may be used again: found out without asking the server, so without a round trip."""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

READ_ONLY = "25006"
"""The error code of a standby that was asked to write."""

_RETURNED = "payctl_returned"
_LONGEST_IDLE = 60.0


def watch(engine: Engine) -> None:
    """Have the engine's pool replace what is closed, lay idle for a minute, or turned out to lead to a standby."""
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _refuse_stale)
    event.listen(engine, "handle_error", _leave_standby)


def _note_return(connection: Any, record: Any) -> None:  # noqa: ANN401 - the driver's connection and the pool's record
    if connection is not None:
        # The clock on the wall: another one may stand still while a Lambda function is frozen.
        record.info[_RETURNED] = time.time()


def _refuse_stale(connection: Any, record: Any, _proxy: object) -> None:  # noqa: ANN401
    """After a minute a firewall on the way may have forgotten the connection, and nobody would tell us."""
    returned = record.info.pop(_RETURNED, None)
    if returned is not None and (abs(time.time() - returned) > _LONGEST_IDLE or has_ended(connection)):
        raise DisconnectionError


def has_ended(connection: Any) -> bool:  # noqa: ANN401
    """A server that waits for us says nothing: what there is to read from an idle connection is its end."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _leave_standby(context: Any) -> None:  # noqa: ANN401 - SQLAlchemy's exception context
    """After a failover the old address may lead to a standby: connect anew instead of keeping what cannot write."""
    if getattr(context.original_exception, "pgcode", None) == READ_ONLY:
        context.is_disconnect = True
