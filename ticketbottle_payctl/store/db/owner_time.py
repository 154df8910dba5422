"""Convert instants to and from the payment service's columns, which store UTC in a type without a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, overload

NOW = "(clock_timestamp() AT TIME ZONE 'UTC')"
"""The SQL expression for the current time, in UTC and without a time zone, as in the payment service's columns."""


@overload
def aware(at: datetime) -> datetime: ...
@overload
def aware(at: datetime | None) -> datetime | None: ...
def aware(at: datetime | None) -> datetime | None:
    """Return a column's instant with UTC as its time zone. If ``at`` is None, return None."""
    return at.replace(tzinfo=UTC) if at else None


@overload
def stored(at: datetime) -> datetime: ...
@overload
def stored(at: datetime | None) -> datetime | None: ...
def stored(at: datetime | None) -> datetime | None:
    """Convert a timezone-aware datetime to the form that a column stores: in UTC and without a zone.

    If ``at`` is None, return None.
    """
    return at.astimezone(UTC).replace(tzinfo=None) if at else None


def aware_value(value: Any) -> Any:  # noqa: ANN401 - a column of any type
    """Return a column's value. If the value is an instant without a zone, add UTC as its time zone."""
    return aware(value) if isinstance(value, datetime) and value.tzinfo is None else value
