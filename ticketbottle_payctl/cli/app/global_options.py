"""Define the options that every command accepts, before or after its name.

Each option is declared once, as a parameter of the root command, and then copied to every command. Therefore Typer's
own parser handles these options. If an option is given in both places, the later one applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ticketbottle_payctl import __version__
from ticketbottle_payctl.cli.output.output_format import Colour, OutputFormat
from ticketbottle_payctl.cli.profile.profiles import complete_names

PANEL = "Shared options"
VERSION_LINE = f"payctl {__version__}"


def zone(name: str | None) -> str | None:
    """Return ``name`` if it is a time zone in the IANA database, such as ``Asia/Ho_Chi_Minh``.

    Raises:
        typer.BadParameter: the name is not a time zone.
    """
    if name is None:
        return None
    from ticketbottle_payctl.settings.time_zone import time_zone  # noqa: PLC0415 - only if a zone is given

    try:
        time_zone(name)
    except ValueError as error:
        message = f"{name!r} is not a time zone; write a name such as Asia/Ho_Chi_Minh"
        raise typer.BadParameter(message) from error
    return name


def _zones(incomplete: str) -> list[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415 - only when Tab is pressed

    return [name for name in sorted(available_timezones()) if name.startswith(incomplete)]


def show_version(asked: bool) -> None:  # noqa: FBT001 - Typer's signature
    """Print payctl's version and exit if ``--version`` was given."""
    if asked:
        typer.echo(VERSION_LINE)
        raise typer.Exit


@dataclass(frozen=True, slots=True)
class Shared:
    """The values of the shared options."""

    output: OutputFormat = OutputFormat.TABLE
    quiet: bool = False
    verbose: int = 0
    no_input: bool = False
    color: Colour = Colour.AUTO
    profile: str | None = None
    config: str | None = None
    tz: str | None = None


def declare(  # noqa: PLR0913 - one argument per option
    *,
    output: Annotated[
        OutputFormat | None,
        typer.Option("-o", "--output", envvar="PAYCTL_OUTPUT", help="Format of the result.", rich_help_panel=PANEL),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print no notes or warnings, only errors.", rich_help_panel=PANEL)
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, metavar="", help="Log what payctl does; -vv adds tracebacks.",
            show_default=False, rich_help_panel=PANEL,
        ),
    ] = 0,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Never prompt; exit with code 7 instead.", rich_help_panel=PANEL)
    ] = False,
    color: Annotated[
        Colour | None, typer.Option("--color", help="Use colour in the text output.", rich_help_panel=PANEL)
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "-p", "--profile", envvar="PAYCTL_PROFILE", metavar="NAME",
            help="Use this profile of the configuration file.", rich_help_panel=PANEL,
            autocompletion=complete_names,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", envvar="PAYCTL_CONFIG", metavar="FILE",
            help="Use this configuration file.", rich_help_panel=PANEL,
        ),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(
            "--tz", metavar="ZONE", callback=zone, help="Read and show times in this zone.", rich_help_panel=PANEL,
            autocompletion=_zones,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Show payctl's version and exit."),
    ] = False,
) -> None:  # fmt: skip
    """Declare the shared options. :func:`collect` reads their values."""


def collect(given: Sequence[Mapping[str, Any]]) -> Shared:
    """Combine the options given before and after the command's name. A later option overrides an earlier one."""
    last = {name: value for level in given for name, value in level.items() if value is not None}
    return Shared(
        output=OutputFormat(last.get("output", OutputFormat.TABLE)),
        color=Colour(last.get("color", Colour.AUTO)),
        profile=last.get("profile"),
        config=last.get("config"),
        tz=last.get("tz"),
        quiet=any(level.get("quiet") for level in given),
        verbose=sum(level.get("verbose") or 0 for level in given),
        no_input=any(level.get("no_input") for level in given),
    )


NAMES = ("output", "quiet", "verbose", "no_input", "color", "profile", "config", "tz")


def guess_form(arguments: list[str], environ: Mapping[str, str]) -> OutputFormat:
    """Guess the requested output format if the command line cannot be parsed.

    With ``-o json``, even this error must be JSON.
    """
    try:
        return OutputFormat(_last_value(arguments, "-o", "--output") or environ.get("PAYCTL_OUTPUT", ""))
    except ValueError:
        return OutputFormat.TABLE


def guess_colour(arguments: list[str]) -> Colour:
    """Return the value of ``--color`` for help, which is printed before the options are parsed."""
    try:
        return Colour(_last_value(arguments, None, "--color"))
    except ValueError:
        return Colour.AUTO


def _last_value(arguments: list[str], short: str | None, long: str) -> str:
    found = ""
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument in {short, long}:
            found = "".join(arguments[place + 1 : place + 2])
        elif argument.startswith(f"{long}="):
            found = argument.partition("=")[2]
        elif short and argument.startswith(short):
            found = argument.removeprefix(short).removeprefix("=")
    return found
