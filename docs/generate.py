"""Write the reference pages that are made from the code: ``docs/cli.md`` and ``docs/errors.md``.

``make docs`` runs this. A test generates the pages in memory and fails if a page in the tree differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.examples import EXAMPLES
from ticketbottle_payctl.cli.app.failures import TerminatedError, describe
from ticketbottle_payctl.cli.app.global_options import PANEL
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import Failure
from ticketbottle_payctl.errors import PayctlError

HERE = Path(__file__).parent
NOTICE = "<!-- Made by `make docs` from the code; what is edited here is lost. -->"


def pages() -> dict[str, str]:
    """Return every generated page by its file name."""
    return {"cli.md": "\n".join(_cli()) + "\n", "errors.md": "\n".join(_errors()) + "\n"}


def _cli() -> Iterator[str]:
    root: Any = get_command(app)
    context = root.make_context("payctl", [], resilient_parsing=True)
    yield from ("# Commands", "", NOTICE, "", _paragraphs(root.help), "", "| command | |", "|---|---|")
    for entry in registry.COMMANDS:
        yield f"| [{entry.name}](#{entry.name.replace(' ', '-')}) | {_cell(entry.help)} |"
    yield from ("", "Each command also takes the options that stand at the end of this page, before or after its name.")
    yield "What its exit code means stands in [errors.md](errors.md)."
    for entry in registry.COMMANDS:
        command, own = _find(root, context, entry.words)
        yield from ("", f"## {entry.name}", "", _paragraphs(command.help), "", "```")
        yield from (" ".join(["payctl", *entry.words, *command.collect_usage_pieces(own)]), "```")
        yield from ("", "```sh")
        for example in EXAMPLES[entry.name]:
            yield from (f"# {example.about}", example.line)
        yield "```"
        yield from _options([one for one in command.params if not _is_shared(one)], own)
    yield from ("", "## Options of every command")
    yield from _options([one for one in root.params if _is_shared(one)], context)


def _find(group: Any, context: Any, words: Sequence[str]) -> tuple[Any, Any]:  # noqa: ANN401 - Typer's own Click
    command = group.get_command(context, words[0])
    own = command.make_context(words[0], [], parent=context, resilient_parsing=True)
    return _find(command, own, words[1:]) if words[1:] else (command, own)


def _is_shared(parameter: Any) -> bool:  # noqa: ANN401 - as above
    return getattr(parameter, "rich_help_panel", None) == PANEL


def _options(parameters: Sequence[Any], context: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    records = [record for parameter in parameters if (record := parameter.get_help_record(context))]
    if records:
        yield from ("", "| | |", "|---|---|")
    for names, text in records:
        yield f"| `{_cell(names)}` | {_cell(text)} |"


def _errors() -> Iterator[str]:
    yield from ("# Errors and exit codes", "", NOTICE, "")
    yield from ("## Exit codes", "", "A command ends with one of these:", "", "| code | |", "|---|---|")
    for code, meaning in exit_codes.rows():
        yield f"| {code} | {meaning} |"
    yield from (
        "",
        "Three exit codes are answers and no errors: 5 says no, 6 that part of it failed, 10 that the time was",
    )
    yield from ("up. `error` is null then, and the result says more.", "", "## Errors", "")
    yield "An error on stderr, and `error` in the JSON document, carries one of these codes, a message that says what"
    yield "failed and on what, and a hint. Below is the usual hint; where more is known, the error says that instead."
    yield from (
        "",
        "| error | exit code | trying again may help | what it means | what to do |",
        "|---|---|---|---|---|",
    )
    for failure, meaning in _failures():
        again = "yes" if failure.retryable else "no"
        hint = _cell(failure.hint or "")
        yield f"| `{failure.code}` | {int(failure.exit_code)} | {again} | {_cell(meaning)} | {hint} |"


def _failures() -> Iterator[tuple[Failure, str]]:
    """Yield every failure as the command line words it, and what it means."""
    for kind in _tree(PayctlError):
        if kind is not PayctlError:
            yield describe(kind(""), ""), (kind.__doc__ or "").splitlines()[0]
    for error, meaning in _NOT_OURS:
        yield describe(error, "payctl --help"), meaning


_NOT_OURS: tuple[tuple[BaseException, str], ...] = (
    (typer.BadParameter(""), "The command line is not understood."),
    (KeyboardInterrupt(), "Ctrl-C. What was under way was finished or rolled back first."),
    (TerminatedError(), "SIGTERM. Likewise."),
    (RuntimeError(), "A bug: something that payctl did not expect."),
)


def _tree(kind: type[PayctlError]) -> Iterator[type[PayctlError]]:
    """Yield the class and its subclasses in the same file."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == PayctlError.__module__:
            yield from _tree(below)


def _paragraphs(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").replace("\b", "").replace("\f", "").splitlines()).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
