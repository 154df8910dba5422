"""Options that several commands have: spelled once, meaning the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Do all of it, show it, and roll it back.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do it without asking.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the record.")]
MaxAffected = Annotated[int | None, typer.Option(metavar="N", min=1, help="Refuse to change more rows than this.")]
Confirm = Annotated[
    str | None, typer.Option(metavar="PROFILE", help="The protected profile's name, instead of typing it when asked.")
]
