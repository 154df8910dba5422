"""Define the options for a callback's source and gateway.

This file is separate, because importing the gateways' names loads code that most commands do not need.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.input.callback_source import AUTO
from ticketbottle_payctl.errors import NotFoundError

NAMES_OF_GATEWAYS = (AUTO, *providers.GATEWAYS)


def gateway_name(value: str) -> str:
    """Return the name of the gateway that ``value`` spells in an accepted way. Return ``auto`` unchanged.

    Raises:
        typer.BadParameter: no gateway has this name.
    """
    if value == AUTO:
        return value
    try:
        return providers.by_name(value).name
    except NotFoundError as error:
        message = f"{value!r} is not one of {', '.join(NAMES_OF_GATEWAYS)}"
        raise typer.BadParameter(message) from error


def _gateways(incomplete: str) -> list[str]:
    return [name for name in NAMES_OF_GATEWAYS if name.startswith(incomplete)]


File = Annotated[
    str | None,
    typer.Argument(metavar="[FILE|-]", help="The callback's body or query string; - is stdin."),
]
Provider = Annotated[
    str,
    typer.Option(
        metavar="|".join(NAMES_OF_GATEWAYS), callback=gateway_name, help="The gateway that sent it.",
        autocompletion=_gateways,
    ),
]  # fmt: skip
Query = Annotated[
    str | None, typer.Option(metavar="STRING", help="The query string of a GET callback, or the whole URL.")
]
EventFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="An API Gateway event (payload format 2.0) with the callback.")
]
RequestPath = Annotated[
    str | None, typer.Option(metavar="PATH", help="The path of the request; it identifies the gateway.")
]
