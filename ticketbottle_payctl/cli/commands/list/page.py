"""What the listings share: which fields, how many rows, where a page goes on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.streaming import finish_stream
from ticketbottle_payctl.cli.input.times import in_reach
from ticketbottle_payctl.cli.output.format import OutputFormat
from ticketbottle_payctl.cli.output.result import Result, dim
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.jobs.listing import Listing
from ticketbottle_payctl.store.outbox.listing import OUTBOX_FIELDS, PAYMENT_FIELDS, RECEIPT_FIELDS, Position
from ticketbottle_payctl.telemetry import redact

_DEFAULT_LIMIT = 50
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ListedCounts(TypedDict):
    """How many rows there are."""

    listed: Count
    """Rows in items."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A listing: its output's name, every field it has, and those a person sees unasked."""

    schema: str
    fields: tuple[str, ...]
    shown: tuple[str, ...]


OUTBOX = Kind(
    "payctl.list-outbox/1",
    OUTBOX_FIELDS,
    ("id", "event_type", "state", "created_at", "last_error"),
)
PAYMENTS = Kind(
    "payctl.list-payments/1",
    PAYMENT_FIELDS,
    ("order_code", "status", "amount", "currency", "provider", "created_at", "id"),
)
RECEIPTS = Kind(
    "payctl.list-receipts/1",
    RECEIPT_FIELDS,
    ("id", "received_at", "provider", "outcome", "result", "reason", "order_ref", "amount"),
)


def columns_of(session: Session, kind: Kind, given: str | None) -> tuple[str, ...]:
    """The fields as given, else all of them, else (for people) the usual ones.

    Raises:
        typer.BadParameter: there is no such field.
    """
    if given is None:
        return kind.shown if session.shared.output is OutputFormat.TABLE else kind.fields
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",")))
    unknown = [name for name in names if name not in kind.fields]
    if unknown:
        message = f"no such field: {', '.join(unknown)}; there are {', '.join(kind.fields)}"
        raise typer.BadParameter(message, param_hint="--fields")
    return names


def limit_of(given: int | None, *, everything: bool) -> int | None:
    """How many rows; None is all.

    Raises:
        typer.BadParameter: a limit and everything.
    """
    if everything and given is not None:
        message = "--all and --limit contradict each other"
        raise typer.BadParameter(message)
    return None if everything else given or _DEFAULT_LIMIT


def cursor(at: datetime, row_id: str) -> str:
    """Return the ``next`` of a page whose last row this is. It keeps microseconds, or rows would be listed twice."""
    return f"{at.astimezone(UTC).isoformat().replace('+00:00', 'Z')}~{row_id}"


def position_of(after: str | None, *, is_id: Callable[[str], bool] = str.isprintable) -> Position | None:
    """The position that a page's ``next`` means; ``is_id`` says what may be a row's id.

    Raises:
        typer.BadParameter: it is no such cursor.
    """
    if after is None:
        return None
    at, found, row_id = after.partition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if not (found and row_id and is_id(row_id) and moment and moment.tzinfo and in_reach(moment)):
        message = "it is not the `next` of an earlier page"
        raise typer.BadParameter(message, param_hint="--after")
    return Position(moment, row_id)


def is_uuid(text: str) -> bool:
    """What identifies a row of payctl's own tables; the payment service's ids are any text."""
    return _UUID.fullmatch(text) is not None


def finish_list(session: Session, kind: Kind, rows: Listing, columns: Sequence[str]) -> NoReturn:
    """Write the rows as they come, and where to go on."""

    def close() -> Result:
        after = cursor(rows.next.at, rows.next.id) if rows.next else None
        if rows.more:
            on = f", or --after {shlex.quote(after)}" if after else ""
            session.note(dim(f"{rows.count:,} shown, there are more: --all{on}"))
        counts: ListedCounts = {"listed": rows.count}
        return Result(kind.schema, counts=counts, truncated=rows.more, next=after)

    finish_stream(session, ({name: _safe(name, row[name]) for name in columns} for row in rows), columns, close)


def _safe(name: str, value: object) -> object:
    """An error's text may quote what it was about."""
    return redact(value) if name == "last_error" and isinstance(value, str) else value
