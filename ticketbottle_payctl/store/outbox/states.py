"""Define the states of an event.

::

    pending    not published, retries left
    dead       not published, out of retries
    published  "published" or "publishedAt" is set

The old service set only ``"publishedAt"`` when it sent an event. Such events count as published, and are called
half-marked. ``blocked`` is not a state of a row. A pending event is blocked if a dead event of its payment was created
before it, and ``blocked.py`` finds such events.

Each function returns an SQL condition or expression for a row. ``row`` is the row's alias with a dot, such as ``"o."``.
The conditions for pending and dead events need the ``max_retries`` parameter.
"""

from __future__ import annotations


def published(row: str = "") -> str:
    """Return the SQL condition for a sent event, whether payctl or the old service marked it."""
    return f'({row}published OR {row}"publishedAt" IS NOT NULL)'


def half_marked(row: str = "") -> str:
    """Return the SQL condition for an event that was sent, but has only ``"publishedAt"`` set."""
    return f'({row}published = false AND {row}"publishedAt" IS NOT NULL)'


def unpublished(row: str = "") -> str:
    """Return the SQL condition for an event that is pending or dead.

    The condition can use the index on ``published``.
    """
    return f'({row}published = false AND {row}"publishedAt" IS NULL)'


def has_retries(row: str = "") -> str:
    """Return the SQL condition for an unpublished event that has retries left."""
    return f'{row}"retryCount" < %(max_retries)s'


def pending(row: str = "") -> str:
    """Return the SQL condition for a pending event."""
    return f"({unpublished(row)} AND {has_retries(row)})"


def dead(row: str = "") -> str:
    """Return the SQL condition for an event that is out of retries."""
    return f"({unpublished(row)} AND NOT {has_retries(row)})"


def name(row: str = "") -> str:
    """Return the SQL expression for an event's state: ``published``, ``pending`` or ``dead``."""
    return f"CASE WHEN {published(row)} THEN 'published' WHEN {has_retries(row)} THEN 'pending' ELSE 'dead' END"


def order_code(row: str = "") -> str:
    """Return the SQL expression for the order code in an event's payload.

    The expression is NULL if the payload does not contain an order code.
    """
    return f"left({row}payload->>'order_code', 60)"
