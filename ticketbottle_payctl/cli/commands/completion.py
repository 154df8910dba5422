"""``payctl completion``: a shell's completion script."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypedDict

import typer

from ticketbottle_payctl.cli.app.parser import completion_script
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Raw, Result


class Shell(StrEnum):
    """A shell that has a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class CompletionFacts(TypedDict):
    """A completion script."""

    shell: str
    """The shell's name."""
    script: str
    """The completion script."""


def completion_command(
    ctx: typer.Context, shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.")]
) -> None:
    """Print a shell's completion script.

    For bash: payctl completion bash > ~/.local/share/bash-completion/completions/payctl
    """
    script = completion_script(shell.value)
    facts: CompletionFacts = {"shell": shell.value, "script": script}
    Session.of(ctx).finish(Result("payctl.completion/1", result=facts, human=[Raw(script)]))
