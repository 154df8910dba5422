"""Provide the options, the limit and the cursor that all lists share. :mod:`columns` defines each list's columns."""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, NoReturn, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.streaming import finish_stream
from ticketbottle_payctl.cli.commands.list.columns import Kind
from ticketbottle_payctl.cli.input.times import in_reach, zone_of
from ticketbottle_payctl.cli.output.list_summary import Place, summary
from ticketbottle_payctl.cli.output.narrow_table import narrow
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import Block, Result, Table, dim, headline
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import short_id
from ticketbottle_payctl.jobs.list_rows import Listing
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.db.pages import PagePosition

_DEFAULT_LIMIT = 50
Wide = Annotated[bool, typer.Option("--wide", help="On a terminal: show full values, even if lines get too wide.")]
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ListedCounts(TypedDict):
    """The number of rows in a list."""

    listed: Count
    """The number of rows in items."""


def fields_option(kind: Kind) -> typer.models.OptionInfo:
    """Return this list's ``--fields`` option. A shell completes the name after the last comma."""

    def complete(incomplete: str) -> list[str]:
        done, comma, begun = incomplete.rpartition(",")
        given = done.split(",")
        fits = [name for name in kind.fields if name.startswith(begun) and name not in given]
        return [f"{done}{comma}{name}" for name in fits]

    option: typer.models.OptionInfo = typer.Option(
        "--fields", metavar="A,B", autocompletion=complete, help="Show these fields, in this order."
    )
    return option


def columns_of(session: Session, kind: Kind, given: str | None) -> tuple[str, ...]:
    """Return the requested fields. If none were requested, return the default fields for a table, otherwise all fields.

    Raises:
        typer.BadParameter: a field does not exist.
    """
    if given is None:
        return kind.shown if session.shared.output is OutputFormat.TABLE else kind.fields
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",")))
    unknown = [name for name in names if name not in kind.fields]
    if unknown:
        message = f"no such field: {', '.join(unknown)}; the fields are {', '.join(kind.fields)}"
        raise typer.BadParameter(message, param_hint="--fields")
    return names


def limit_of(given: int | None, *, everything: bool) -> int | None:
    """Return the number of rows to list, or None for all rows.

    Raises:
        typer.BadParameter: both --limit and --all were given.
    """
    if everything and given is not None:
        message = "--all cannot be combined with --limit"
        raise typer.BadParameter(message)
    return None if everything else given or _DEFAULT_LIMIT


def cursor(at: datetime, row_id: str) -> str:
    """Return the ``next`` cursor for a page that ends with this row.

    Its time has microseconds, so no row appears twice.
    """
    return f"{at.astimezone(UTC).isoformat().replace('+00:00', 'Z')}~{row_id}"


def position_of(after: str | None, *, is_id: Callable[[str], bool] = str.isprintable) -> PagePosition | None:
    """Return the position that a page's ``next`` cursor refers to.

    ``is_id`` returns whether a string can be a row's id.

    Raises:
        typer.BadParameter: the value is not a cursor.
    """
    if after is None:
        return None
    at, found, row_id = after.partition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if not (found and row_id and is_id(row_id) and moment and moment.tzinfo and in_reach(moment)):
        message = f"{after!r} is not the `next` of an earlier page"
        raise typer.BadParameter(message, param_hint="--after")
    return PagePosition(moment, row_id)


def is_uuid(text: str) -> bool:
    """Return whether a string can be an id in payctl's own tables.

    In the payment service's tables, any string can be an id.
    """
    return _UUID.fullmatch(text) is not None


def shows_in_brief(session: Session, *, wide: bool) -> bool:
    """Return whether the list goes to a terminal, and the user did not ask for full values."""
    return session.shared.output is OutputFormat.TABLE and not wide and is_terminal(sys.stdout)


def finish_list(  # noqa: PLR0913 - the list, and how it is shown
    session: Session,
    kind: Kind,
    rows: Listing,
    columns: Sequence[str],
    *,
    wide: bool = False,
    place: Place = Place.NEWEST,
) -> NoReturn:
    """Write the rows while reading them, then the next page's cursor.

    A table comes with a sentence about its rows: above it on a terminal, and on stderr elsewhere. On a terminal, the
    table has short ids, ages and the columns that fit. With ``wide`` or with columns that the user chose, the table has
    full values. Elsewhere, the table always has full values.
    """
    terminal = shows_in_brief(session, wide=False)
    in_brief = terminal and not wide and tuple(columns) == kind.shown

    states: Counter[str] = Counter()

    def read() -> Iterator[dict[str, object]]:
        names = kind.fields if in_brief else columns
        for row in rows:
            states[kind.state(row)] += 1
            yield {name: _safe(name, row[name]) for name in names}

    def close() -> Result:
        after = cursor(rows.next.at, rows.next.id) if rows.next else None
        if rows.more:
            note_more_rows(session, "--all", after)
        counts: ListedCounts = {"listed": rows.count}
        return Result(kind.schema, counts=counts, truncated=rows.more, next=after)

    def drawn(found: Sequence[Mapping[str, object]]) -> list[Block]:
        first = summary(kind.noun, states, place=place, more=rows.more)
        if terminal and not found:
            return [headline(first)]
        if not in_brief:
            values = tuple(tuple(row.get(name) for name in columns) for row in found)
            table = Table(tuple(columns), values, whole=wide)
            return with_summary(session, first, [table])
        one = Adviser(session, "").reading(["show"], [short_id(str(found[0]["id"]))])
        session.note_last(dim(f"full values: --wide; one row: {one}"))
        return [headline(first), *narrow(kind.narrow, found, zone_of(session), session.services.now())]

    finish_stream(session, read(), columns, close, drawn)


def note_more_rows(session: Session, option: str, after: str | None) -> None:
    """Name the options that show more rows, on stderr. A terminal shows --after on its own line, which does not break.

    ``option`` is the option that shows more rows at once. ``after`` is the cursor of the next page, or None.
    """
    more = f"more rows: {option}"
    if after is None:
        session.note_last(dim(more))
        return
    cursor_option = f"--after {shlex.quote(after)}"
    if is_terminal(sys.stderr):
        session.note_last(dim(f"{more}, or"))
        session.note_last(dim(f"  {cursor_option}"))
    else:
        session.note_last(dim(f"{more}, or {cursor_option}"))


def with_summary(session: Session, first: str, blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks of a table below the sentence about its rows.

    If stdout is not a terminal, stdout gets only the table, and stderr gets the sentence.
    """
    if is_terminal(sys.stdout):
        return [headline(first), *blocks]
    session.note(first)
    return [*blocks]


def _safe(name: str, value: object) -> object:
    """Redact the value if it is an error message, because the message may quote a secret."""
    return redact(value) if name == "last_error" and isinstance(value, str) else value
