"""Declare the options that select rows, so that several commands can share them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.input.event_types import event_types
from ticketbottle_payctl.cli.input.stored_ids import error_groups, order_codes
from ticketbottle_payctl.cli.input.times import age
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.store.outbox.selector import WindowBy


def text(value: str) -> str:
    """Return ``value`` if the database can store it.

    Raises:
        typer.BadParameter: the value is empty, or contains a NUL character, which PostgreSQL cannot store.
    """
    if not value or "\x00" in value:
        message = "the value contains a NUL character" if value else "the value is empty"
        raise typer.BadParameter(message)
    return value


def order_name(ids: str) -> typer.models.ArgumentInfo:
    """Return the argument for an order. ``ids`` says which ids the command accepts besides an order code."""
    about = f"The id of a {ids}, or an order code or its last characters (at least four)."
    argument: typer.models.ArgumentInfo = typer.Argument(
        metavar="ID|ORDER-CODE", parser=text, autocompletion=order_codes, help=about
    )
    return argument


def provider(value: str | None) -> str | None:
    """Return the name of the gateway that ``value`` spells in an accepted way.

    Raises:
        typer.BadParameter: no gateway has this name.
    """
    if value is None:
        return None
    try:
        return providers.by_name(value).name
    except NotFoundError as error:
        message = f"{value!r} is not one of {', '.join(providers.GATEWAYS)}"
        raise typer.BadParameter(message) from error


Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID...|-]", help="Ids; - reads them from stdin.")]
FromFile = Annotated[
    str | None,
    typer.Option(
        "--from-file",
        metavar="FILE",
        help="Ids from a file: one per line, the ndjson of a list, or messages of the dead-event queue.",
    ),
]
Failed = Annotated[bool, typer.Option("--failed", help="Dead events (out of retries).")]
Stuck = Annotated[bool, typer.Option("--stuck", help="Events that have been pending for longer than --age.")]
Age = Annotated[
    timedelta | None,
    typer.Option(parser=age, metavar="5m", help="An event is stuck when it is older than this [default: 5m]."),
]
Published = Annotated[bool, typer.Option("--published", help="Published events.")]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE", parser=text, autocompletion=event_types, help="Events of this type; repeatable."
    ),
]
Aggregates = Annotated[
    list[str] | None,
    typer.Option("--aggregate", metavar="ID", parser=text, help="Rows of the payment with this id; repeatable."),
]
OrderCodes = Annotated[
    list[str] | None,
    typer.Option(
        "--order-code", metavar="CODE", parser=text, autocompletion=order_codes, help="Rows of this order; repeatable."
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(providers.GATEWAYS), callback=provider, help="Rows of payments that use this gateway."
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="Rows at or after this time, such as 2h (ago), yesterday, 09:00."),
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Rows before this time.")]
ByInstant = Annotated[WindowBy, typer.Option("--by", help="The timestamp that --since and --until refer to.")]
ErrorPattern = Annotated[
    str | None,
    typer.Option(
        "--error",
        metavar="REGEX",
        parser=text,
        help="Events whose last error matches (PostgreSQL regex).",
    ),
]
ErrorGroup = Annotated[
    str | None,
    typer.Option(
        metavar="ID", parser=text, autocompletion=error_groups, help="Events of this group of `payctl errors`."
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="All rows, without a limit.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N rows.")]
