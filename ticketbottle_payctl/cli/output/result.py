"""Define a command's result: fields for programs, and blocks of text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.theme import Style

_HEADLINE = 80


@dataclass(frozen=True, slots=True)
class Styled:
    """Text with a style."""

    text: str
    style: Style


Part = str | Styled


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text. Two spaces separate the parts, on a terminal and in a pipe.

    On a terminal, a long line breaks between words, at the terminal's width or at ``most`` columns. Continuation lines
    are indented to the part with index ``hang``, or to the longest part. If ``whole`` is True, the line does not break,
    so that its command can be copied.
    """

    parts: tuple[Part, ...]
    most: int | None = None
    hang: int | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Fields:
    """Names and values, aligned on a terminal and tab-separated elsewhere. A row with the value None is left out."""

    rows: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, which is drawn on a terminal, and has tab-separated full values elsewhere.

    On a narrow terminal, columns in ``spare`` are left out one by one until the others fit. If ``whole`` is True, each
    row is one line with full values, even if the line is wider than the terminal.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    spare: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Text that payctl itself creates, such as a script.

    The text is not escaped, so never use this for external text.
    """

    text: str


Block = Line | Fields | Table | Raw


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a command failed. The JSON document contains it as ``error``.

    ``sql`` is the statement that the user must run to follow the hint, without a semicolon, or None.
    """

    code: str
    message: str
    exit_code: ExitCode
    hint: str | None = None
    retryable: bool = False
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A command's result. A command with one answer sets ``result``, and a command that lists rows sets ``items``.

    ``schema`` is the output's name and version, such as ``payctl.stats/1``. ``-o table`` shows ``human``. If
    ``human`` is empty, payctl shows the items as a table, or the result as fields. ``next`` is the next page's cursor.
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
    """Return a line with the given parts, except empty ones."""
    return Line(tuple(part for part in parts if part))


def headline(*parts: Part | None) -> Line:
    """Return the first line of the output, which contains the answer in at most 80 columns.

    If the line is longer, it breaks between facts, and continuation lines start below the first fact after the mark.
    """
    shown = line(*parts).parts
    return Line(shown, _HEADLINE, 1 if len(shown) > 1 and _is_mark(shown[0]) else None)


def _is_mark(part: Part) -> bool:
    return len(part.text if isinstance(part, Styled) else part) == 1


def good(text: str) -> Styled:
    """Return a word in the style for success."""
    return Styled(text, Style.GOOD)


def bad(text: str) -> Styled:
    """Return a word in the style for failure."""
    return Styled(text, Style.BAD)


def warn(text: str) -> Styled:
    """Return a word in the style for a warning."""
    return Styled(text, Style.WARN)


def bold(text: str) -> Styled:
    """Return a word in bold."""
    return Styled(text, Style.BOLD)


def dim(text: str) -> Styled:
    """Return a word in the style for less important text."""
    return Styled(text, Style.DIM)


def accent(text: str) -> Styled:
    """Return text in the accent colour, which is used for bars."""
    return Styled(text, Style.ACCENT)
