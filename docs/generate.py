"""Write the pages in ``docs/reference`` that are generated from the code. ``make docs`` runs this script.

A test generates the pages in memory, and fails if a committed page differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import typer
from typer.main import get_command

from docs import functions, log_events
from ticketbottle_payctl import metrics
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.failures import TerminatedError, describe
from ticketbottle_payctl.cli.app.global_options import PANEL
from ticketbottle_payctl.cli.app.help_examples import EXAMPLES
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.cli.commands.config import reference, variable
from ticketbottle_payctl.cli.output import exit_codes, marks
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
        "functions.md": _functions(),
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
    yield "This page lists every variable that payctl reads. An empty value counts as not set. If the format is"
    yield "`true or false`, an empty value means false. In a profile, the keys have these same names"
    yield "([guards](../how-to/guards.md)). A variable in the environment overrides the profile. `payctl config show`"
    yield "says where each value comes from. On AWS, every function except `probe` and `before-traffic` is in the VPC."
    for section in reference.sections():
        yield from ("", f"## {section.title}", "")
        if section.introduction:
            yield from (section.introduction, "")
        yield from ("| variable | format | default | read by | example | meaning |", "|---|---|---|---|---|---|")
        for one in section.variables:
            default = f"`{_cell(one.default)}`" if one.default else ""
            cells = (_cell(one.kind), default, _readers(one.readers), f"`{_cell(one.example)}`", _cell(one.meaning))
            yield f"| `{one.name}` | {' | '.join(cells)} |"


def _readers(readers: Sequence[str]) -> str:
    groups = (
        (variable.ALL, "the command line, all functions"),
        ((variable.CLI, *variable.IN_THE_VPC), "the command line, the functions in the VPC"),
        (variable.FUNCTIONS, "all functions"),
    )
    return next((words for group, words in groups if set(readers) == set(group)), ", ".join(readers))


def _errors() -> Iterator[str]:
    yield from ("# Errors and exit codes", "", NOTICE, "")
    yield from ("## Exit codes", "", "A command exits with one of these codes:", "", "| code | |", "|---|---|")
    for code, meaning in exit_codes.rows():
        yield f"| {code} | {meaning} |"
    yield from ("", "### Marks", "", *wrap(marks.ABOUT, 115), "", "| first line | exit code |", "|---|---|")
    for name, meaning in marks.rows():
        yield f"| {_cell(name)} | {_cell(meaning)} |"
    yield from (
        "",
        "Three exit codes are answers and not errors: 5 means no, 6 means that some of the work failed, and 10 means",
    )
    yield "that the time limit was reached. With these codes, `error` is null, and the result has the details. With"
    yield "`publish-outbox`, exit code 9 is an answer too. The code means that another process holds a shard, which"
    yield from ("`result.locked_by` names.", "")
    yield "If payctl cannot write the result to stdout, a command that changed something keeps its exit code. A command"
    yield "that changed nothing exits with 4 and the error `OUTPUT`. A closed stdout is not an error."
    yield from ("", "## Errors", "")
    yield "Each error has one of these codes, a message that says what failed, and a hint. payctl prints the error on"
    yield "stderr, and writes it to `error` in the JSON document. The table shows the usual hints. If payctl knows"
    yield "more, it gives a more precise hint."
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
    yield "With `-o json`, a command prints one JSON document. The document's `schema` field names its format, for"
    yield "example `payctl.stats/1`. Within a version, we only add fields. `payctl schema NAME` prints the JSON Schema"
    yield "of a format, and `payctl schema` lists all formats. Every document has the fields in the first table."
    folder = "../../ticketbottle_payctl/schemas"
    envelope = json.loads((HERE / folder / "envelope-1.json").read_text("utf-8"))
    yield from ("", "## Every document", "", "| field | meaning |", "|---|---|")
    for name, one in envelope["properties"].items():
        yield f"| `{name}` | {_cell(one.get('description') or _PARTS[name])} |"
    yield from ("", "## Formats", "", "| format | contents | file |", "|---|---|---|")
    for name in known.names():
        file = f"{name.replace('/', '-')}.json"
        title = json.loads((HERE / folder / file).read_text("utf-8"))["title"]
        yield f"| `{name}` | {_cell(title)} | [{file}]({folder}/{file}) |"


_PARTS = {
    "counts": "The command's counts, such as the number of published events.",
    "result": "The answer, if the command has a single answer.",
    "items": "The rows of a list, or the parts of an answer.",
}
"""The descriptions of the fields that each command's own schema defines in detail."""


def _functions() -> Iterator[str]:
    yield from ("# The Lambda functions", "", NOTICE, "")
    yield from functions.page()


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", NOTICE, "")
    yield "The functions write these metrics in CloudWatch's embedded metric format, in the namespace"
    yield f"`{metrics.NAMESPACE}`. This table, the alarms and the dashboard are generated from one list in the code."
    yield "Each data point has the dimension `env`, and exactly one of the dimensions in the column *by*. The column"
    yield "*statistic* names the statistic to use when you aggregate the metric over a period. Every run of a function"
    yield "writes the metrics marked ●, even if the value is 0."
    yield ""
    yield "Without CloudWatch, use `payctl stats` and `payctl stats --prometheus`, which show the outbox's numbers."
    yield from ("", "| metric | meaning | unit | statistic | by | functions |", "|---|---|---|---|---|---|")
    for one in metrics.METRICS:
        by = " or ".join(each[-1] for each in one.dimensions)
        every = len(one.functions) == len(metrics.Function)
        functions = "all" if every else ", ".join(each.value.replace("_", "-") for each in one.functions)
        cells = (one.meaning, one.unit.value, one.statistic.value, by, functions)
        yield f"| `{one.name}`{' ●' if one.always else ''} | {' | '.join(map(_cell, cells))} |"
    yield from _WHAT_METRICS_COUNT.splitlines()


_WHAT_METRICS_COUNT = """
## What some metrics count

**`OutboxOldestPendingAge`** counts from the creation of the event, even after a replay. The role `payctl_publisher` is
not allowed to read when a replay requeued an event. A running publisher sends requeued events within 35 seconds. The
alarms `OutboxLate` and `OutboxStuck` need a high value in three of five minutes. So these alarms go off after a replay
of old events only if the publisher takes minutes to send the events. If the database role is allowed to read replays,
as `payctl_operator` is, two figures count a requeued event from its replay: the wait that `payctl stats --check`
compares, and `payctl_outbox_longest_wait_seconds` in `payctl stats --prometheus`. With another role, both figures
count from the creation too.

**`PaymentsOverdue`** and **`PaymentsUnsettled`** include payments that a person has closed with `payctl close`.
These metrics show whether callbacks settle payments, and closing a payment does not settle it. A payment counts
only while it is 30 to 90 minutes old. So a closed payment does not keep an alarm on."""


def _log_events() -> Iterator[str]:
    yield from ("# Log events", "", NOTICE, "")
    yield "The functions and `payctl publish-outbox --loop` write one line of JSON for each log event. The `message`"
    yield "field contains the event's name. Each line also has `timestamp` (UTC) and `level`. A function's lines also"
    yield "have `service`, `env`, `function`, `function_request_id` and `cold_start`. Lines about a callback have"
    yield "`correlation_id`. Fields that have no value are omitted. No line contains a secret."
    yield from ("", "| log event | level | meaning | its own fields |", "|---|---|---|---|")
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
    (typer.BadParameter(""), "payctl does not understand the command line."),
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
    return "\n\n".join(map(_paragraph, re.split(r"\n\s*\n", (text or "").replace("\f", "").strip())))


def _paragraph(text: str) -> str:
    r"""Return a paragraph. After a ``\b``, help keeps each line as it is, and the lines below the first are code."""
    first, *rest = (line.strip() for line in text.replace("\b", "").strip().splitlines() or [""])
    if "\b" not in text:
        return "\n".join([first, *rest])
    return "\n".join([first, "", "```", *rest, "```"])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
