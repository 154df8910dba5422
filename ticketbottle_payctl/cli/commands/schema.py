"""``payctl schema``: the JSON Schemas of the outputs, which the tests check the outputs against."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Annotated, Any

import typer

from ticketbottle_payctl.cli.app import complete
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Raw, Result, Table
from ticketbottle_payctl.errors import NotFoundError

_ENVELOPE = "envelope-1.json"


def schema_command(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A command or a schema's name; none lists them.",
            autocompletion=complete.schema_names,
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


def names() -> list[str]:
    """Every schema there is: ``payctl.stats/1``."""
    found = [
        entry.name.removesuffix(".json")
        for entry in files("ticketbottle_payctl.schemas").iterdir()
        if entry.name.startswith("payctl.")
    ]
    return sorted("/".join(name.rsplit("-", 1)) for name in found)


def load(name: str) -> dict[str, Any]:
    """One schema, complete in itself: what all outputs share stands under ``$defs``.

    Raises:
        NotFoundError: there is none of that name.
    """
    wanted = "-".join(name.split()).removeprefix("payctl.")
    known = {each: each.removeprefix("payctl.") for each in names()}
    for full, short in known.items():
        if wanted in {short, short.partition("/")[0]}:
            schema: dict[str, Any] = _read(full.replace("/", "-") + ".json")
            return {**schema, "$defs": {"envelope": _read(_ENVELOPE)}}
    message = "there is no schema of that name"
    raise NotFoundError(message, hint=f"one of: {', '.join(known)}")


def _read(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(files("ticketbottle_payctl.schemas").joinpath(file).read_text("utf-8"))
    return loaded
