"""``payctl schema``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Raw, Result, Table
from ticketbottle_payctl.cli.output.schemas import complete_names, load, names


def schema_command(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A command or a schema's name; none lists them.",
            autocompletion=complete_names,
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a command's output."""
    session = Session.of(ctx)
    if name is None:
        items = [{"schema": known} for known in names()]
        table = Table(("schema",), tuple((known,) for known in names()))
        session.finish(Result("payctl.schema/1", items=items, human=[table]))
    schema = load(name)
    document = json.dumps(schema, indent=2)
    session.finish(Result("payctl.schema/1", result={"json_schema": schema}, human=[Raw(document)]))
