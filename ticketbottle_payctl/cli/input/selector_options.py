"""The options that say which rows are meant, spelled once for every command that selects."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.input.event_types import event_types
from ticketbottle_payctl.cli.input.times import age
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.store.outbox.selector import By


def text(value: str) -> str:
    """A value that the database can be asked for.

    Raises:
        typer.BadParameter: it is empty, or holds what no text in a database holds.
    """
    if not value or "\x00" in value:
        message = "it is empty"
        raise typer.BadParameter(message)
    return value


def provider(value: str | None) -> str | None:
    """A gateway by name, in any of its spellings."""
    if value is None:
        return None
    try:
        return providers.by_name(value).name
    except NotFoundError as error:
        message = f"not one of {', '.join(providers.GATEWAYS)}"
        raise typer.BadParameter(message) from error


Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID...|-]", help="Ids; - reads them from stdin.")]
FromFile = Annotated[
    str | None, typer.Option("--from-file", metavar="FILE", help="Ids from a file: one a line, or a list's ndjson.")
]
Failed = Annotated[bool, typer.Option("--failed", help="Dead ones: out of retries.")]
Stuck = Annotated[bool, typer.Option("--stuck", help="Pending for longer than --age.")]
Age = Annotated[timedelta | None, typer.Option(parser=age, metavar="5m", help="What counts as stuck [default: 5m].")]
Published = Annotated[bool, typer.Option("--published", help="Published ones.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", parser=text, autocompletion=event_types, help="Of this type; repeatable."),
]
Aggregates = Annotated[
    list[str] | None,
    typer.Option("--aggregate", metavar="ID", parser=text, help="Of this payment, by its id; repeatable."),
]
OrderCodes = Annotated[
    list[str] | None,
    typer.Option("--order-code", metavar="CODE", parser=text, help="Of this order; repeatable."),
]
Provider = Annotated[
    str | None, typer.Option(metavar="|".join(providers.GATEWAYS), callback=provider, help="Paid through this gateway.")
]
Since = Annotated[str | None, typer.Option(metavar="WHEN", help="From this instant on, such as 2h, yesterday, 09:00.")]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Before this instant.")]
ByInstant = Annotated[By, typer.Option("--by", help="Which instant --since and --until are about.")]
ErrorPattern = Annotated[
    str | None,
    typer.Option("--error", metavar="REGEX", parser=text, help="Whose last error matches; PostgreSQL's syntax."),
]
ErrorGroup = Annotated[
    str | None, typer.Option(metavar="ID", parser=text, help="Whose last error is of this group of `payctl errors`.")
]
Everything = Annotated[bool, typer.Option("--all", help="Every one there is.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="No more than this many.")]
