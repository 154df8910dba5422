"""Decide without a round trip to the server whether a pooled connection can be used again."""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

READ_ONLY = "25006"
"""PostgreSQL's error code for writing to a standby."""

_RETURNED = "payctl_returned"
_LONGEST_IDLE = 60.0


def watch(engine: Engine) -> None:
    """Make the engine's pool replace connections that are closed, were idle for over a minute, or lead to a standby."""
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _refuse_stale)
    event.listen(engine, "handle_error", _leave_standby)


def is_closed_by_server(connection: Any) -> bool:  # noqa: ANN401 - the driver has no types
    """Return whether the server closed an idle connection.

    The server does not send anything between two statements, so readable data means that it closed the connection.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _note_return(connection: Any, record: Any) -> None:  # noqa: ANN401 - the driver's connection and the pool's record
    if connection is not None:
        # Use the wall clock, because a monotonic clock may stop while a Lambda function is frozen.
        record.info[_RETURNED] = time.time()


def _refuse_stale(connection: Any, record: Any, _proxy: object) -> None:  # noqa: ANN401
    """Refuse a connection that the server has closed, or that a firewall may have dropped because it was idle."""
    returned = record.info.pop(_RETURNED, None)
    if returned is not None and (abs(time.time() - returned) > _LONGEST_IDLE or is_closed_by_server(connection)):
        raise DisconnectionError


def _leave_standby(context: Any) -> None:  # noqa: ANN401 - SQLAlchemy's exception context
    """After a failover, discard a connection to a server that is now a standby, because it does not accept writes."""
    if getattr(context.original_exception, "pgcode", None) == READ_ONLY:
        context.is_disconnect = True
