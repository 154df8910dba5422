"""Define the options of the commands that change something. An option has the same meaning in every command."""

from __future__ import annotations

from typing import Annotated

import typer

DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Show what would change, and change nothing.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask for confirmation.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, for the record of the run.")]
MaxAffected = Annotated[int | None, typer.Option(metavar="N", min=1, help="Refuse to change more than N rows.")]
Confirm = Annotated[
    str | None, typer.Option(metavar="PROFILE", help="The protected profile's name, instead of typing it when asked.")
]
