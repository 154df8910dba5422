"""Options of the commands that are given a callback: where it is, and whose.

Apart from the other options: naming the gateways loads what they are made of, which most commands do not need.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.input.callback_source import AUTO
from ticketbottle_payctl.errors import NotFoundError

NAMES_OF_GATEWAYS = (AUTO, *providers.GATEWAYS)


def gateway_name(value: str) -> str:
    """``auto``, or a gateway in one of its accepted spellings."""
    if value == AUTO:
        return value
    try:
        return providers.by_name(value).name
    except NotFoundError as error:
        message = f"not one of {', '.join(NAMES_OF_GATEWAYS)}"
        raise typer.BadParameter(message) from error


def _gateways(incomplete: str) -> list[str]:
    return [name for name in NAMES_OF_GATEWAYS if name.startswith(incomplete)]


File = Annotated[
    str | None,
    typer.Argument(metavar="[FILE|-]", help="The body as it arrived, or for VNPay the query string; - is stdin."),
]
Provider = Annotated[
    str,
    typer.Option(
        metavar="|".join(NAMES_OF_GATEWAYS), callback=gateway_name, help="Whose callback it is.",
        autocompletion=_gateways,
    ),
]  # fmt: skip
Query = Annotated[str | None, typer.Option(metavar="STRING", help="VNPay's query string, or the URL it stood in.")]
EventFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="An API Gateway event (payload format 2.0) that holds the callback.")
]
RequestPath = Annotated[str | None, typer.Option(metavar="PATH", help="The path it was sent to, to tell the gateway.")]
