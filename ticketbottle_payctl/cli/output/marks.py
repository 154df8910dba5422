"""Define which exit codes go with the mark in a command's first line.

``payctl help exit-codes`` and docs/reference/errors.md are generated from this table. A test fails if a command prints
a mark without a row here.
"""

from __future__ import annotations

from typing import NamedTuple

from ticketbottle_payctl.cli.output.exit_codes import ExitCode

_SIGNALS = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
_ENDED_EARLY = (ExitCode.DEADLINE, *_SIGNALS)


class Marked(NamedTuple):
    """A mark that some commands print, the exit codes that go with it, and what it means."""

    commands: tuple[str, ...]
    mark: str
    codes: tuple[ExitCode, ...]
    meaning: str


ABOUT = (
    "The mark in the first line matches the exit code. ✔ always means exit code 0. ! means that something needs"
    " attention. ✘ means that the answer is no, or that nothing was done."
)

_DEAD_NOW = "events of an unknown type are dead"

MARKS = (
    Marked(("config validate",), "✘", (ExitCode.CONFIG,), "a setting is wrong"),
    Marked(("demo",), "✘", (ExitCode.PARTIAL,), "an event did not arrive"),
    Marked(("verify-signature",), "✘", (ExitCode.NO,), "the signature is not valid"),
    Marked(("process-webhook",), "✘", (ExitCode.NO,), "the callback was refused"),
    Marked(("simulate",), "✘", (ExitCode.NO,), "the reply does not acknowledge the callback"),
    Marked(("show",), "!", (ExitCode.NO,), "the order needs a person, or is not settled yet"),
    Marked(("show",), "✘", (ExitCode.NO,), "the order needs a person"),
    Marked(("stats", "report"), "!", (ExitCode.DONE,), "these commands only report"),
    Marked(("errors",), "!", (ExitCode.DONE, ExitCode.PARTIAL), "6 if the database took too long to count all events"),
    Marked(("stats --check",), "✘", (ExitCode.NO,), "a limit is exceeded"),
    Marked(("stats --wait",), "✘", _ENDED_EARLY, "the condition was not reached"),
    Marked(("doctor",), "!", (ExitCode.DONE,), "no check failed"),
    Marked(("doctor",), "✘", (ExitCode.NO,), "a check failed"),
    Marked(("doctor --fix-published-flags",), "!", (ExitCode.PARTIAL, *_SIGNALS), "some events are left"),
    Marked(
        ("publish-outbox",),
        "!",
        (ExitCode.PARTIAL, ExitCode.LOCKED, *_ENDED_EARLY),
        "events were held back or are dead, a paid order may have lost its tickets, or the run ended early",
    ),
    Marked(
        ("replay", "runs resume"),
        "!",
        (ExitCode.PARTIAL, *_ENDED_EARLY),
        "events were not requeued or are dead again, or the run ended early",
    ),
    Marked(("replay",), "✘", (ExitCode.GUARD, ExitCode.NOT_FOUND), "every event is left out, or none exists"),
    Marked(("cleanup",), "!", _ENDED_EARLY, "the run ended early"),
    Marked(
        ("reconcile payments",),
        "!",
        (ExitCode.DONE, ExitCode.PARTIAL, *_ENDED_EARLY),
        "payments are not settled; 0 after a dry run that found payments to settle",
    ),
    Marked(("reconcile outbox",), "!", (ExitCode.PARTIAL, ExitCode.DEADLINE), "some events were not judged"),
    Marked(("reconcile outbox",), "✘", (ExitCode.NO,), "events are lost, wrong or out of order"),
    Marked(("cdc cut-over",), "!", (ExitCode.PARTIAL,), _DEAD_NOW),
    Marked(("cdc mark", "cdc cut-back"), "!", (ExitCode.PARTIAL,), _DEAD_NOW),
    Marked(("db status",), "✘", (ExitCode.NO,), "a migration is missing"),
    Marked(("gateways list",), "!", (ExitCode.DONE,), "a key is missing"),
    Marked(("gateways register-webhook",), "✘", (ExitCode.NO,), "PayOS refused the address"),
)


def rows() -> list[tuple[str, str]]:
    """Return each command and mark with its exit codes and its meaning, as text."""
    return [
        (f"{', '.join(row.commands)} {row.mark}", f"{_either([str(code.value) for code in row.codes])}: {row.meaning}")
        for row in MARKS
    ]


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
