"""Write a result in a format for programs: one JSON document, typed JSON lines, or CSV.

All formats use the same field names. A later version of payctl never removes a field.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypedDict

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Failure, Result
from ticketbottle_payctl.cli.output.sanitize import escape, escape_json
from ticketbottle_payctl.facts import Count, Keywords
from ticketbottle_payctl.formats import rfc3339

_RUN_BY_SPREADSHEETS = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last four are full-width forms of the first four


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a command: its name, its profile and its start. ``duration_ms`` is wall-clock time."""

    command: str | None
    profile: str | None
    started_at: datetime
    duration_ms: int


class ErrorFacts(TypedDict):
    """The error from a command that could not give an answer."""

    code: Annotated[str, Keywords(pattern="^[A-Z_]+$")]
    message: str
    """A sentence that says what failed, and for which value or service."""
    hint: str | None
    """A sentence that tells the user what to do."""
    retryable: bool
    """Whether the same command might succeed later."""


class Envelope(TypedDict):
    """The fields of every JSON document that payctl writes."""

    schema: Annotated[str, Keywords(pattern=r"^payctl\.[a-z-]+/[0-9]+$")]
    """The name and the version of this output's schema."""
    ok: bool
    """Whether exit_code is 0."""
    exit_code: ExitCode
    """The exit code of the process."""
    command: str | None
    """The command without its options; null if payctl could not parse the command line."""
    profile: str | None
    """The profile in use."""
    dry_run: bool
    """Whether this was a dry run. A dry run rolls back all changes."""
    run_id: str | None
    """The id of the recorded run, if the command records runs."""
    started_at: Annotated[str, Keywords(format="date-time", pattern="Z$")]
    """When the command started (UTC)."""
    duration_ms: Count
    """How long the command took, in milliseconds of wall-clock time."""
    counts: Annotated[Mapping[str, object], Keywords(additionalProperties={"type": "integer"})]
    result: Mapping[str, object]
    items: Sequence[Mapping[str, object]]
    truncated: bool
    """Whether there are more items than this document contains."""
    next: str | None
    """The value for --after that lists the next page."""
    warnings: Sequence[str]
    """Warnings for the operator."""
    error: ErrorFacts | None
    """The error; null if the command gave an answer, even a negative one."""


def envelope(result: Result, invocation: Invocation) -> Envelope:
    """Return the whole result as one document. After a failure, the document contains ``error``."""
    return {
        "schema": result.schema,
        "ok": result.exit_code == 0,
        "exit_code": result.exit_code,
        "command": invocation.command,
        "profile": invocation.profile,
        "dry_run": result.dry_run,
        "run_id": result.run_id,
        "started_at": rfc3339(invocation.started_at),
        "duration_ms": invocation.duration_ms,
        "counts": dict(result.counts),
        "result": dict(result.result),
        "items": [dict(item) for item in result.items],
        "truncated": result.truncated,
        "next": result.next,
        "warnings": list(result.warnings),
        "error": _error(result.error),
    }


def as_json(result: Result, invocation: Invocation) -> str:
    """Return the result as one JSON document, followed by a newline."""
    return _dump(envelope(result, invocation), indent=2)


def as_ndjson(result: Result, invocation: Invocation) -> str:
    """Return one ``{"type": "item"}`` line for each item, then a ``{"type": "summary"}`` line with all other fields."""
    return "".join([*map(item_line, result.items), summary_line(result, invocation)])


def item_line(item: Mapping[str, object]) -> str:
    """Return an item as a JSON line with ``"type": "item"``."""
    return _dump({"type": "item", **item})


def summary_line(result: Result, invocation: Invocation) -> str:
    """Return the result without its items, as the last JSON line."""
    summary = {name: value for name, value in envelope(result, invocation).items() if name != "items"}
    return _dump({"type": "summary", **summary})


def as_csv(result: Result) -> str:
    """Return the items as CSV with a header. If there are no items, return one row with the counts and the result."""
    rows = [dict(item) for item in result.items] or [{**result.counts, **result.result}]
    flat = [dict(_flat(row)) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    if not columns:
        return ""
    return _csv_lines([columns, *[[row.get(name, "") for name in columns] for row in flat]])


def csv_header(columns: Iterable[str]) -> str:
    """Return the header line of the CSV output."""
    return _csv_lines([list(columns)])


def csv_row(columns: Iterable[str], item: Mapping[str, object]) -> str:
    """Return the CSV line for an item, with the same columns as the header."""
    return _csv_lines([[_inert(item.get(name)) for name in columns]])


def cell(value: object) -> str:
    """Return a value as escaped text. None becomes an empty string, and a list or an object becomes JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return rfc3339(value)
        case Mapping() | list() | tuple():
            return escape(json.dumps(value, ensure_ascii=False, default=_encoded))
        case _:
            return escape(value)


def _flat(row: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{escape(name)}.")
        else:
            yield f"{prefix}{escape(name)}", _inert(value)


def _inert(value: object) -> str:
    """Return a cell that spreadsheets do not run as a formula.

    Put an apostrophe before text that begins like a formula.

    See https://owasp.org/www-community/attacks/CSV_Injection. Numbers stay numbers.
    """
    text = cell(value)
    runs = isinstance(value, str) and (value.startswith(_RUN_BY_SPREADSHEETS) or text.startswith(_RUN_BY_SPREADSHEETS))
    return f"'{text}" if runs else text


def _csv_lines(rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    usual = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        # Some spreadsheets separate cells with semicolons. Such a spreadsheet would split a cell that contains a
        # semicolon.
        (quoted if any(";" in each for each in row) else usual).writerow(row)
    return text.getvalue()


def _error(failure: Failure | None) -> ErrorFacts | None:
    if failure is None:
        return None
    return {
        "code": failure.code,
        "message": failure.message,
        "hint": f"{failure.hint}: {failure.sql}" if failure.sql else failure.hint,
        "retryable": failure.retryable,
    }


def _dump(document: Mapping[str, object], indent: int | None = None) -> str:
    return escape_json(json.dumps(document, ensure_ascii=False, indent=indent, default=_encoded)) + "\n"


def _encoded(value: object) -> object:
    return rfc3339(value) if isinstance(value, datetime) else str(value)
