"""Define the options for commands that change something. An option has the same meaning in every command."""

from __future__ import annotations

from typing import Annotated

import typer

from ticketbottle_payctl.formats import PLACEHOLDER


def _reason(typed: str) -> str:
    if typed.strip() in {PLACEHOLDER, "...", "…"}:
        message = f"{typed} is a placeholder: replace it with the reason"
        raise typer.BadParameter(message, param_hint="--reason")
    return typed


DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Show what would change, and change nothing.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask for confirmation.")]
Reason = Annotated[
    str | None, typer.Option(metavar=PLACEHOLDER, parser=_reason, help="The reason, for the record of the run.")
]
RequiredReason = Annotated[
    str | None,
    typer.Option(
        metavar=PLACEHOLDER, parser=_reason, help="What you did, for the next shift [required, except with -n]."
    ),
]
MaxAffected = Annotated[int | None, typer.Option(metavar="N", min=1, help="Refuse to change more than N rows.")]
Confirm = Annotated[
    str | None, typer.Option(metavar="PROFILE", help="The protected profile's name, instead of typing it when asked.")
]
