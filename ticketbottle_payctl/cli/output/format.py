"""The formats of a result, and when to use colour."""

from __future__ import annotations

from enum import StrEnum


class OutputFormat(StrEnum):
    """A format of a result."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    NONE = "none"


class Colour(StrEnum):
    """When to use colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
