"""Implement ``payctl config``, which shows each setting and its origin, but never the value of a secret."""

from __future__ import annotations

import os
import sys
from typing import Annotated, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.config.screen import on_terminal
from ticketbottle_payctl.cli.commands.config.settings import GROUPS, CheckedSettings, check_settings, setting_of, shown
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Block, Fields, Line, Result, Styled, Table, bad, good, line
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.cli.profile.config_file import config_path
from ticketbottle_payctl.cli.profile.unusable_file import unreadable
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count, gateway_name


class PathFacts(TypedDict):
    """The path of the configuration file."""

    path: str
    """The path that was given, or the absolute default path."""
    exists: bool


class CheckedCounts(TypedDict):
    """The number of checked items and of invalid items."""

    checked: Count
    """The number of checked groups of settings, plus the number of unknown names."""
    wrong: Count
    """The number of groups with an error, plus the number of unknown names."""


class CheckedItem(TypedDict):
    """The result of checking a group of settings or an unknown name."""

    name: str
    """The name of the group, or a name that is not a setting."""
    ok: bool
    message: str
    """The value that was checked, or the problem."""


def _complete(incomplete: str) -> list[str]:
    return [name for name in GROUPS if name.startswith(incomplete)]


Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="NAME", autocompletion=_complete,
        help=f"Check only this group and the general settings; repeatable. One of: {', '.join(GROUPS)}.",
    ),
]  # fmt: skip


def show_command(ctx: typer.Context) -> None:
    """Show every setting and its source.

    Secrets are never shown, only whether they are set. A value from the environment overrides the profile's value.
    """
    session = Session.of(ctx)
    rows = shown(session.profile, session.guard)
    items = [setting_of(row) for row in rows]
    if is_terminal(sys.stdout):
        human = on_terminal(rows, session.profile)
    else:
        human = [Table(("name", "value", "origin"), tuple((row.name, row.text, row.origin) for row in rows))]
    session.finish(Result("payctl.config-show/1", items=items, human=human))


def path_command(ctx: typer.Context) -> None:
    """Show where the configuration file is."""
    session = Session.of(ctx)
    path = config_path(session.shared.config, os.environ)
    try:
        exists = path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error
    facts: PathFacts = {"path": str(path), "exists": exists}
    note = None if exists else "(does not exist yet)"
    session.finish(Result("payctl.config-path/1", result=facts, human=[line(str(path), note)]))


def validate_command(ctx: typer.Context, *, only: Only = None) -> None:
    """Check every setting, and list the errors.

    The command also checks the files and packages that the settings need. The command does not connect to a database or
    a broker. For KAFKA_SASL_MECHANISM=aws-iam, it looks for an AWS identity.

    Exit 3 if a setting is invalid. A gateway without any keys is off, which is not an error. A gateway with only some
    of its keys is an error.
    """
    session = Session.of(ctx)
    if unknown := [name for name in only or () if name not in GROUPS]:
        message = f"no such group: {', '.join(unknown)}; the groups are {', '.join(GROUPS)}"
        raise typer.BadParameter(message, param_hint="--only")
    found = check_settings(session.profile, only or GROUPS)
    wrong = [each for each in found if not each.ok]
    items: list[CheckedItem] = [{"name": each.name, "ok": each.ok, "message": each.message} for each in found]
    warnings = [warning for each in found for warning in each.warnings]
    human: list[Block] = [
        _verdict(len(wrong), len(found)),
        Fields(tuple((gateway_name(each.name), _mark(each)) for each in found)),
    ]
    code = ExitCode.CONFIG if wrong else ExitCode.DONE
    counts: CheckedCounts = {"checked": len(found), "wrong": len(wrong)}
    session.finish(Result("payctl.config-validate/1", code, items=items, counts=counts, human=human, warnings=warnings))


def _mark(checked: CheckedSettings) -> Styled:
    return good(f"✔ {checked.message}") if checked.ok else bad(f"✘ {checked.message}")


def _verdict(wrong: int, checked: int) -> Line:
    return line(bad(f"✘ {wrong} of {count(checked, 'check')} failed")) if wrong else line(good("✔ nothing is wrong"))
