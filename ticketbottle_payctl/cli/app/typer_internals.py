"""Import what payctl needs from Typer's private modules.

Since version 0.26, Typer contains its own copy of Click in private modules. Only this file imports them.
"""

from typer._click import Command, Context, HelpFormatter
from typer._click.core import Parameter, ParameterSource
from typer._click.shell_completion import (
    CompletionItem,
    _resolve_context,
    _resolve_incomplete,
    add_completion_class,
)
from typer._completion_classes import BashComplete, FishComplete, completion_init

__all__ = [
    "BashComplete",
    "Command",
    "CompletionItem",
    "Context",
    "FishComplete",
    "HelpFormatter",
    "Parameter",
    "ParameterSource",
    "add_completion_class",
    "completion_init",
    "expected_at",
]


def expected_at(shell: BashComplete, args: list[str], incomplete: str) -> Command | Parameter:
    """Return the parameter whose value the user is completing, or the command otherwise."""
    context = _resolve_context(shell.cli, shell.ctx_args, shell.prog_name, args)
    return _resolve_incomplete(context, args, incomplete)[0]
