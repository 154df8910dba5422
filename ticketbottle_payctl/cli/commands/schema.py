"""Implement ``payctl schema``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Raw, Result, Table
from ticketbottle_payctl.cli.output.schemas import complete_names, load, names


class SchemaItem(TypedDict):
    """The name of a schema."""

    schema: str


class SchemaFacts(TypedDict, total=False):
    """The requested schema."""

    json_schema: Mapping[str, object]
    """The requested schema."""


def schema_command(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="The name of a command or of a schema. If NAME is missing, payctl lists all names.",
            autocompletion=complete_names,
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a command's output."""
    session = Session.of(ctx)
    if name is None:
        items: list[SchemaItem] = [{"schema": known} for known in names()]
        table = Table(("schema",), tuple((known,) for known in names()))
        session.finish(Result("payctl.schema/1", items=items, human=[table]))
    schema = load(name)
    facts: SchemaFacts = {"json_schema": schema}
    session.finish(Result("payctl.schema/1", result=facts, human=[Raw(json.dumps(schema, indent=2))]))
