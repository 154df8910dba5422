"""Compute the size of an event's message in SQL, in the same way as :mod:`ticketbottle_payctl.domain.message_size`."""

from __future__ import annotations

from ticketbottle_payctl.domain.message_size import EMPTY_EVENT


def message_bytes(row: str = "") -> str:
    """Return the SQL expression for the size of an event's message, in bytes.

    The size includes the headers that a replay may add, with their longest values.
    """
    headers = " + ".join(f"{times} * {_header(row + column)}" for column, times in _HEADERS.items())
    return f"""({EMPTY_EVENT} + octet_length({row}payload::text) + octet_length({row}"aggregateId") + {headers})"""


_HEADERS = {"id": 2, '"eventType"': 1, '"aggregateType"': 1}
"""For each column, the number of headers that contain its value."""


def _header(column: str) -> str:
    """Return the SQL expression for the bytes that a value adds to an empty header, including a longer length field."""
    size = f"octet_length({column})"
    return f"({size} + CASE WHEN {size} < 64 THEN 0 WHEN {size} < 8192 THEN 1 ELSE 2 END)"
