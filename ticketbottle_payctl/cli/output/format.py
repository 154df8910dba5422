"""Types for the formats of a result and for the use of colour."""

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
    """The rule for colour: always, never, or only on a terminal."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
