"""Build the command tree for Typer.

A command is imported only when a user chooses it. Every command takes the shared options.
"""

from __future__ import annotations

import os
import sys
from contextvars import copy_context
from copy import copy
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.argv import ARGUMENTS, require_utf8
from ticketbottle_payctl.cli.app.failures import failures
from ticketbottle_payctl.cli.app.global_options import NAMES, Shared, collect, guess_form
from ticketbottle_payctl.cli.app.help_page import Page, text_of, write_examples, write_more, write_parameters
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.typer_internals import (
    Command,
    CompletionItem,
    Context,
    HelpFormatter,
    Parameter,
    ParameterSource,
)
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.wiring import Services

_SHARED_IN_BRIEF = ("-o", "-q", "-v", "-p", "-h", "--no-input", "--color", "--config", "--tz")
TOPICS = ("options", "exit-codes", "times")
"""The pages of ``payctl help`` that are not about a single command."""


class PayctlCommand(TyperCommand):
    """A command from the registry."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments. If there are too many, say how many arguments the command takes."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            taken = [each for each in self.params if each.param_type_name == "argument"]
            if len(taken) == 1 and taken[0].nargs == 1 and "unexpected extra argument" in error.message:
                words = " ".join(level.info_name or "" for level in _chain(ctx)[1:])
                error.message = f"{error.message}; {words} takes one {_operand(taken[0])} at a time"
            raise

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401 - Typer's signature
        """Start the session and run the command in it."""
        session = _begin(ctx)
        try:
            return super().invoke(ctx)
        finally:
            session.close()

    def get_help(self, ctx: Context) -> str:
        """Return the help. Its headings are bold if the output can show bold text."""
        return text_of(self, ctx, sys.stdout)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the examples, then the command's own options. The examples come first because readers copy them."""
        from ticketbottle_payctl.cli.app.help_examples import EXAMPLES  # noqa: PLC0415 - only for the help of one command

        words = " ".join(level.info_name or "" for level in _chain(ctx)[1:])
        write_examples([(each.about, each.line) for each in EXAMPLES.get(words, ())], formatter)
        write_parameters(self, ctx, formatter)
        write_more(formatter, ["also:", *_SHARED_IN_BRIEF, "(payctl help options)"])


class PayctlGroup(TyperGroup):
    """A command group, such as ``runs``. A command in the group is imported only when a user chooses it."""

    prefix: tuple[str, ...] = ()

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments. If there are none, print help on stderr, because help is not a result."""
        if not args and not ctx.resilient_parsing:
            sys.stderr.write(f"{self.without_arguments(ctx)}\n")
            self.refuse_no_arguments(ctx)
        return super().parse_args(ctx, args)

    def refuse_no_arguments(self, ctx: Context) -> None:
        """Raise a usage error that says that a command is missing."""
        sys.stderr.write("\n")
        ctx.fail(" ".join(["missing command", *(["after"] if self.prefix else []), *self.prefix]))

    def without_arguments(self, ctx: Context) -> str:
        """Return the help that is shown if the command is missing."""
        return text_of(self, ctx, sys.stderr)

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the words that can come next, in the registry's order."""
        del ctx
        return list(registry.children(self.prefix))

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return the command or group with exactly this word. Prefixes and aliases are not accepted."""
        words = (*self.prefix, cmd_name)
        shared = _shared_parameters(ctx)
        if words in registry.GROUPS:
            group = PayctlGroup(name=cmd_name, help=registry.GROUPS[words], params=shared, rich_markup_mode=None)
            group.prefix = words
            return group
        entry = registry.find(words)
        if entry is None:
            return None
        command = _typer_command(entry)
        command.params.extend(shared)
        return command

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command, or suggest similar names if no command has this name."""
        words = (*self.prefix, args[0])
        if words not in registry.GROUPS and registry.find(words) is None and not ctx.resilient_parsing:
            near = registry.did_you_mean(registry.near(self.prefix, args[0]))
            ctx.fail(f"no such command: {' '.join(words)}{near}")
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: Context) -> str:
        """Return the help. Its headings are bold if the output can show bold text."""
        return text_of(self, ctx, sys.stdout)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of commands in this group."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(registry.children(self.prefix).items()))
        words = " ".join(["payctl", *self.prefix])
        write_more(formatter, [f"more: {words} COMMAND --help,", "payctl help options"])

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Complete words and options without importing the commands."""
        words = registry.children(self.prefix).items()
        items = [CompletionItem(word, help=text) for word, text in words if word.startswith(incomplete)]
        return items + Command.shell_complete(self, ctx, incomplete)


class PayctlRoot(PayctlGroup):
    """The ``payctl`` root command, which handles the exceptions of all commands."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Typer's signature
        """Run one command line in its own context, so that ``--tz`` does not affect the next command line."""
        return copy_context().run(super().main, *args, **kwargs)

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the options before the command's name."""
        ctx.meta[ARGUMENTS] = list(args)
        if ctx.resilient_parsing:  # a shell asks for completions
            return super().parse_args(ctx, args)
        with failures(lambda: _session(ctx), lambda: _help_command(ctx)):
            require_utf8(args, os.environ)
            return super().parse_args(ctx, args)

    def without_arguments(self, ctx: Context) -> str:
        """Return a page of at most 24 lines that says what payctl is and lists a few commands to start with."""
        formatter = Page(sys.stderr)
        formatter.write(f"{formatter.bold(ctx.command_path)}  {self.help}\n")
        widest = max(len(line) for lines in registry.FIRST_SCREEN.values() for line in lines)
        for title, lines in registry.FIRST_SCREEN.items():
            with formatter.section(title):
                formatter.write_dl([(f"{line:<{widest}}", about) for line, about in lines.items()], col_max=widest)
        write_more(formatter, ["everything: payctl --help,", "one command: payctl COMMAND --help"])
        return formatter.getvalue().rstrip("\n")

    def refuse_no_arguments(self, ctx: Context) -> None:
        """Exit with the exit code for a usage error.

        An error message is written only for JSON output, because people have just seen the help.
        """
        if guess_form([], os.environ) in {OutputFormat.JSON, OutputFormat.NDJSON}:
            super().refuse_no_arguments(ctx)
        raise typer.Exit(int(exit_codes.ExitCode.USAGE))

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401 - Typer's signature
        """Run the chosen command. Convert an exception into a failure and an exit code."""
        with failures(lambda: _session(ctx), lambda: _help_command(ctx)):
            return super().invoke(ctx)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write all commands, grouped by use."""
        del ctx
        words = registry.children(())
        width = max(map(len, words))
        for title, names in registry.PANELS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", words[name]) for name in names if name in words])

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the exit codes, then the commands to try next.

        The commands to try come last, because a terminal with 24 lines shows only the end of the help.
        """
        del ctx
        with formatter.section("Exit codes"):
            formatter.write_dl(exit_codes.rows())
        with formatter.section("Start here"):
            formatter.write_dl(list(registry.START.items()))
        write_more(
            formatter,
            ["more: payctl COMMAND --help,", *(f"payctl help {topic}," for topic in TOPICS), "payctl --version"],
        )


def help_of(ctx: Context, words: tuple[str, ...]) -> str | None:
    """Return the text of ``payctl WORDS --help``, or None if the command does not exist."""
    level = ctx.find_root()
    for word in words:
        group = level.command
        command = group.get_command(level, word) if isinstance(group, PayctlGroup) else None
        if command is None:
            return None
        level = command.context_class(command, parent=level, info_name=word)
    return level.get_help()


def shared_options(ctx: Context) -> list[tuple[str, str]]:
    """Return the shared options and ``--help``, each with its description."""
    root = ctx.find_root()
    records = [each.get_help_record(root) for each in root.command.get_params(root) if each.name != "version"]
    return [record for record in records if record]


def _typer_command(entry: registry.CommandEntry) -> TyperCommand:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(entry.words[-1], cls=PayctlCommand)(entry.load())
    command = get_command(app)
    if not isinstance(command, TyperCommand):
        message = f"{entry.name} is not a single command"
        raise TypeError(message)
    return command


def _operand(parameter: Parameter) -> str:
    return (parameter.metavar or parameter.name or "argument").strip("[]")


def _shared_parameters(ctx: Context) -> list[Parameter]:
    """Copy the root command's shared options, except ``--version``. They mean the same after a command's name."""
    return [copy(parameter) for parameter in ctx.find_root().command.params if parameter.name in NAMES]


def _begin(ctx: Context) -> Session:
    """Collect the shared options from every level, and store the session in the root context."""
    contexts = _chain(ctx)
    root = contexts[0]
    given = [_given(level, everything=level is root) for level in contexts]
    ctx.params = {name: value for name, value in ctx.params.items() if name not in NAMES}
    services = root.obj if isinstance(root.obj, Services) else None
    words = " ".join(level.info_name or "" for level in contexts[1:])
    root.obj = session = Session(words, collect(given), services)
    session.begin()
    return session


def _chain(ctx: Context) -> list[Context]:
    return [*(_chain(ctx.parent) if ctx.parent else ()), ctx]


def _given(level: Context, *, everything: bool) -> dict[str, Any]:
    """Return the options given at one level.

    Below the root command, return only options that the user typed, because they override the root command's.
    """
    return {
        name: level.params.get(name)
        for name in NAMES
        if everything or level.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def _session(ctx: Context) -> Session:
    """Return the session. If the arguments could not be parsed, make a session from the recognisable options."""
    root = ctx.find_root()
    if isinstance(root.obj, Session):
        return root.obj
    arguments: list[str] = ctx.meta[ARGUMENTS]
    words = _words(arguments)
    command = " ".join(words) if registry.find(words) else None
    verbose = max((len(each) - 1 for each in arguments if each and not each.strip("v").strip("-")), default=0)
    root.obj = session = Session(command, Shared(output=guess_form(arguments, os.environ), verbose=verbose))
    return session


def _words(arguments: list[str]) -> tuple[str, ...]:
    words: tuple[str, ...] = ()
    for argument in arguments:
        if argument in registry.children(words):
            words = (*words, argument)
    return words


def _help_command(ctx: Context) -> str:
    return " ".join(["payctl", *_words(ctx.meta[ARGUMENTS]), "--help"])
