"""Write the pages in ``docs/reference`` that are generated from the code. ``make docs`` runs this script.

A test generates the pages in memory, and fails if a committed page differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from docs import log_events
from ticketbottle_payctl import metrics
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.examples import EXAMPLES
from ticketbottle_payctl.cli.app.failures import TerminatedError, describe
from ticketbottle_payctl.cli.app.global_options import PANEL
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.cli.commands.config import reference
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output import schemas as known
from ticketbottle_payctl.cli.output.result import Failure
from ticketbottle_payctl.errors import PayctlError

HERE = Path(__file__).parent / "reference"
NOTICE = "<!-- `make docs` writes this page from the code. Do not edit it. -->"


def pages() -> dict[str, str]:
    """Return all generated pages by file name."""
    made = {
        "commands.md": _cli(),
        "environment.md": _environment(),
        "errors.md": _errors(),
        "log-events.md": _log_events(),
        "metrics.md": _metrics(),
        "schemas.md": _schemas(),
    }
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def _cli() -> Iterator[str]:
    root: Any = get_command(app)
    context = root.make_context("payctl", [], resilient_parsing=True)
    yield from ("# Commands", "", NOTICE, "", _paragraphs(root.help), "", "| command | |", "|---|---|")
    for entry in registry.COMMANDS:
        yield f"| [{entry.name}](#{entry.name.replace(' ', '-')}) | {_cell(entry.help)} |"
    yield from ("", "Each command also accepts the options at the end of this page, before or after its name.")
    yield "[errors.md](errors.md) says what its exit codes mean."
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


def _environment() -> Iterator[str]:
    yield from ("# The environment", "", NOTICE, "")
    yield "Every variable that payctl reads. An empty value counts as not set; for `true or false` it means false. In a"
    yield "profile the same names are keys ([guards](../how-to/guards.md)). A variable that is set overrides the"
    yield "profile, and `payctl config show` says where each value comes from. Each function on AWS but `probe` is in"
    yield "the VPC."
    for section in reference.sections():
        yield from ("", f"## {section.title}", "")
        if section.introduction:
            yield from (section.introduction, "")
        yield from ("| variable | form | default | read by | example | meaning |", "|---|---|---|---|---|---|")
        for one in section.variables:
            default = f"`{_cell(one.default)}`" if one.default else ""
            cells = (_cell(one.kind), default, _readers(one.readers), f"`{_cell(one.example)}`", _cell(one.meaning))
            yield f"| `{one.name}` | {' | '.join(cells)} |"


def _readers(readers: Sequence[str]) -> str:
    groups = (
        (reference.ALL, "the command line, all functions"),
        ((reference.CLI, *reference.IN_THE_VPC), "the command line, the functions in the VPC"),
        (reference.FUNCTIONS, "all functions"),
    )
    return next((words for group, words in groups if set(readers) == set(group)), ", ".join(readers))


def _errors() -> Iterator[str]:
    yield from ("# Errors and exit codes", "", NOTICE, "")
    yield from ("## Exit codes", "", "A command ends with one of these:", "", "| code | |", "|---|---|")
    for code, meaning in exit_codes.rows():
        yield f"| {code} | {meaning} |"
    yield from (
        "",
        "Three exit codes are answers and not errors: 5 means no, 6 means that some of the work failed, and 10 means",
    )
    yield "that the time was up. Then `error` is null, and the result has the details. With `publish-outbox`, 9 is such"
    yield from ("an answer too: another process holds a shard, and `result.locked_by` names it.", "")
    yield "If the result cannot be written to stdout, finished work keeps its exit code. A command that changed"
    yield "nothing then ends with 4 and the error `OUTPUT`. A closed stdout is not an error."
    yield from ("", "## Errors", "")
    yield "An error on stderr, and `error` in the JSON document, has one of these codes, a message that says what"
    yield "failed, and a hint. The table has the usual hints. If payctl knows more, the error has a more exact hint."
    yield from (
        "",
        "| error | exit code | trying again may help | what it means | what to do |",
        "|---|---|---|---|---|",
    )
    for failure, meaning in _failures():
        again = "yes" if failure.retryable else "no"
        hint = _cell(failure.hint or "")
        yield f"| `{failure.code}` | {int(failure.exit_code)} | {again} | {_cell(meaning)} | {hint} |"


def _schemas() -> Iterator[str]:
    yield from ("# Schemas", "", NOTICE, "")
    yield "With `-o json` a command prints one JSON document. Its field `schema` names its form, for example"
    yield "`payctl.stats/1`. Within a version, fields are only added. `payctl schema NAME` prints the JSON Schema of a"
    yield "form, and `payctl schema` lists them. Every document has the fields of the first table."
    folder = "../../ticketbottle_payctl/schemas"
    envelope = json.loads((HERE / folder / "envelope-1.json").read_text("utf-8"))
    yield from ("", "## Every document", "", "| field | meaning |", "|---|---|")
    for name, one in envelope["properties"].items():
        yield f"| `{name}` | {_cell(one.get('description') or _PARTS[name])} |"
    yield from ("", "## Forms", "", "| form | contents | file |", "|---|---|---|")
    for name in known.names():
        file = f"{name.replace('/', '-')}.json"
        title = json.loads((HERE / folder / file).read_text("utf-8"))["title"]
        yield f"| `{name}` | {_cell(title)} | [{file}]({folder}/{file}) |"


_PARTS = {
    "counts": "Numbers of the things that the command did.",
    "result": "The answer of a command that has one answer.",
    "items": "The rows of a list, or the parts of an answer.",
}
"""The descriptions of the fields that each command's own schema defines in detail."""


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", NOTICE, "")
    yield "The functions write these metrics in CloudWatch's embedded metric format, in the namespace"
    yield f"`{metrics.NAMESPACE}`. The alarms and the dashboard are made from the same list. Every metric has the"
    yield "dimension `env`, and one of the dimensions in the column *by*. The column *statistic* names the statistic"
    yield "that is useful for a period."
    yield "A metric marked ● is written by every run of its functions, even if it is 0."
    yield ""
    yield "On a machine without CloudWatch, `payctl stats` and `payctl stats --prometheus` have the outbox's numbers."
    yield from ("", "| metric | meaning | unit | statistic | by | functions |", "|---|---|---|---|---|---|")
    for one in metrics.METRICS:
        by = " or ".join(each[-1] for each in one.dimensions)
        every = len(one.functions) == len(metrics.Function)
        functions = "all" if every else ", ".join(each.value.replace("_", "-") for each in one.functions)
        cells = (one.meaning, one.unit.value, one.statistic.value, by, functions)
        yield f"| `{one.name}`{' ●' if one.always else ''} | {' | '.join(map(_cell, cells))} |"


def _log_events() -> Iterator[str]:
    yield from ("# Log events", "", NOTICE, "")
    yield "The functions and `payctl publish-outbox --loop` write one line of JSON for each log event. The field"
    yield "`message` is its name. Each line also has `timestamp` (UTC), `level`, `service` and `env`, and inside a"
    yield "function `function`, `function_request_id` and `cold_start`. Lines about a callback have `correlation_id`. A"
    yield "field without a value is left out. No line contains a secret."
    yield from ("", "| log event | level | meaning | fields of its own |", "|---|---|---|---|")
    for one in log_events.events():
        levels = ", ".join("WARN" if level == "warning" else level.upper() for level in one.levels)
        yield f"| `{one.name}` | {levels} | {_cell(one.meaning)} | {', '.join(f'`{each}`' for each in one.fields)} |"


def _failures() -> Iterator[tuple[Failure, str]]:
    """Yield every failure as the command line describes it, together with what it means."""
    for kind in _tree(PayctlError):
        if kind is not PayctlError:
            yield describe(kind(""), ""), (kind.__doc__ or "").splitlines()[0]
    for error, meaning in _NOT_OURS:
        yield describe(error, "payctl --help"), meaning


_NOT_OURS: tuple[tuple[BaseException, str], ...] = (
    (typer.BadParameter(""), "The command line is not understood."),
    (KeyboardInterrupt(), "Ctrl-C. payctl first finished or rolled back the work in flight."),
    (TerminatedError(), "SIGTERM. payctl first finished or rolled back the work in flight."),
    (RuntimeError(), "A bug: something that payctl did not expect."),
)


def _tree(kind: type[PayctlError]) -> Iterator[type[PayctlError]]:
    """Yield the class and all its subclasses that are defined in the same file."""
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
