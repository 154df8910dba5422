"""What a command hands to the renderer: the facts for programs, and the pleasant form of them for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ticketbottle_payctl.cli.output.exit_codes import ExitCode


class Style(Enum):
    """How a word is meant; the terminal decides how that looks."""

    GOOD = "32"
    BAD = "31"
    WARN = "33"
    BOLD = "1"
    DIM = "2"


@dataclass(frozen=True, slots=True)
class Styled:
    """A word with a meaning."""

    text: str
    style: Style


Part = str | Styled


@dataclass(frozen=True, slots=True)
class Line:
    """One line; its parts are set two spaces apart. The same on a terminal and in a pipe."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """Names and values: aligned on a terminal, tab-separated elsewhere. A value of None is left out."""

    rows: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns: drawn on a terminal, tab-separated with full values elsewhere."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Our own text (a script, a schema), written as it is. Never for text that came from outside."""

    text: str


Block = Line | Fields | Table | Raw


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command could not be done; ``error`` of the JSON document."""

    code: str
    message: str
    exit_code: ExitCode
    hint: str | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A command's answer. One-answer commands fill ``result``, lists fill ``items``.

    ``schema`` is the output's name and version, ``payctl.stats/1``. ``human`` is what ``-o table`` shows; where it
    is empty, items are shown as a table and otherwise the result as fields. ``next`` is the cursor of the next page.
    """

    schema: str
    exit_code: ExitCode = ExitCode.DONE
    result: Mapping[str, object] = field(default_factory=dict)
    counts: Mapping[str, object] = field(default_factory=dict)
    items: Sequence[Mapping[str, object]] = ()
    human: Sequence[Block] = ()
    warnings: Sequence[str] = ()
    truncated: bool = False
    next: str | None = None
    dry_run: bool = False
    run_id: str | None = None
    error: Failure | None = None


def line(*parts: Part | None) -> Line:
    """A line of the parts that are there."""
    return Line(tuple(part for part in parts if part))


def good(text: str) -> Styled:
    """A word that says yes."""
    return Styled(text, Style.GOOD)


def bad(text: str) -> Styled:
    """A word that says no."""
    return Styled(text, Style.BAD)


def warn(text: str) -> Styled:
    """A word to look at twice."""
    return Styled(text, Style.WARN)


def bold(text: str) -> Styled:
    """A word to find quickly."""
    return Styled(text, Style.BOLD)


def dim(text: str) -> Styled:
    """A word that may be skipped."""
    return Styled(text, Style.DIM)
