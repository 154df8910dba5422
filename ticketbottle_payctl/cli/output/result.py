"""The result of a command: fields for programs, and blocks of text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.theme import Style

_HEADLINE = 80


@dataclass(frozen=True, slots=True)
class Styled:
    """A word with a style."""

    text: str
    style: Style


Part = str | Styled


@dataclass(frozen=True, slots=True)
class Line:
    """A line. Two spaces separate its parts, on a terminal and in a pipe.

    A terminal folds it at its words, at its width or at ``most`` columns. What follows is indented to the part number
    ``hang``, or to the longest part.
    """

    parts: tuple[Part, ...]
    most: int | None = None
    hang: int | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Names and values: aligned on a terminal, tab-separated elsewhere. A row whose value is None is left out."""

    rows: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns: drawn on a terminal, tab-separated with full values elsewhere.

    A terminal that is too narrow to show columns of ``spare`` in one line leaves them out, the first one first.
    ``whole`` draws full values in one line each, instead of folding cells into the terminal's width.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    spare: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Text that payctl itself makes (a script, a schema). It is not escaped: never use it for text from outside."""

    text: str


Block = Line | Fields | Table | Raw


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason that a command failed; ``error`` of the JSON document."""

    code: str
    message: str
    exit_code: ExitCode
    hint: str | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command. A command with one answer fills ``result``, a list fills ``items``.

    ``schema`` is the output's name and version, such as ``payctl.stats/1``. ``human`` is what ``-o table`` shows. If it
    is empty, the items are shown as a table, or the result as fields. ``next`` is the cursor of the next page.
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
    """Return a line of the parts that are not empty."""
    return Line(tuple(part for part in parts if part))


def headline(*parts: Part | None) -> Line:
    """Return the first line of a screen: the answer, in at most 80 columns."""
    return Line(line(*parts).parts, _HEADLINE)


def good(text: str) -> Styled:
    """Return a word that reports success."""
    return Styled(text, Style.GOOD)


def bad(text: str) -> Styled:
    """Return a word that reports a failure."""
    return Styled(text, Style.BAD)


def warn(text: str) -> Styled:
    """Return a word that warns."""
    return Styled(text, Style.WARN)


def bold(text: str) -> Styled:
    """Return a word that stands out."""
    return Styled(text, Style.BOLD)


def dim(text: str) -> Styled:
    """Return a word that is less important."""
    return Styled(text, Style.DIM)


def accent(text: str) -> Styled:
    """Return a word in the one accent: a figure drawn as bars."""
    return Styled(text, Style.ACCENT)
