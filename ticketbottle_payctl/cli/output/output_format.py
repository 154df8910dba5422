"""Define the formats of a result and the rules for colour."""

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
    """A rule that says when to use colour: always, never, or only on a terminal."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
