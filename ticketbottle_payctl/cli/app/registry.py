"""List all commands, with their words, functions and help. A command is imported only when a user chooses it.

A new command needs a file with a function, and a line in this module that says whether the command writes. A new
command also needs a line in ``docs/schemas.py`` with its output types. A test compares the help in this list with the
docstrings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import get_type_hints

_HERE = "ticketbottle_payctl.cli.commands"


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command, with its words, its target (``module:function`` below ``commands``) and the first line of its help.

    ``writes`` is True if the command can change rows, or send messages or callbacks. Such a command must call
    ``safety.confirm`` first, which a test checks.
    """

    words: tuple[str, ...]
    target: str
    help: str
    writes: bool

    @property
    def name(self) -> str:
        """The words as the user types them, such as ``db upgrade``."""
        return " ".join(self.words)

    def load(self) -> Callable[..., None]:
        """Import the command's module and return its function."""
        module, _, function = self.target.partition(":")
        loaded: Callable[..., None] = getattr(import_module(f"{_HERE}.{module}"), function)
        evaluate_annotations(loaded)
        return loaded


def evaluate_annotations(function: Callable[..., None]) -> None:
    """Replace the strings in a function's annotations by their values.

    Typer otherwise evaluates each string four times for every command line.
    """
    function.__annotations__ = get_type_hints(function, include_extras=True)


def _reads(words: str, target: str, summary: str) -> CommandEntry:
    return CommandEntry(tuple(words.split()), target, summary, writes=False)


def _writes(words: str, target: str, summary: str) -> CommandEntry:
    return CommandEntry(tuple(words.split()), target, summary, writes=True)


COMMANDS: tuple[CommandEntry, ...] = (
    _reads(
        "verify-signature",
        "verify_signature:verify_signature_command",
        "Check that a callback is genuine, or say why it is not.",
    ),
    _writes(
        "process-webhook", "process_webhook:process_webhook_command", "Settle a payment from a gateway's callback."
    ),
    _writes(
        "publish-outbox",
        "publish_outbox.command:publish_outbox_command",
        "Publish pending events to Kafka, in order per payment.",
    ),
    _writes("replay", "replay.command:replay_command", "Set events back to pending, to publish them again."),
    _reads("list outbox", "list.command:outbox_command", "Show events of the outbox, newest first."),
    _reads("list payments", "list.command:payments_command", "Show payments, newest first."),
    _reads("list receipts", "list.command:receipts_command", "Show stored callbacks, newest first."),
    _reads("show", "show.command:show_command", "Show an order's state, and the history of its payment."),
    _writes("close", "close:close_command", "Record that a person has dealt with an order."),
    _reads("errors", "errors.command:errors_command", "Show the last errors of unpublished events, grouped."),
    _reads("runs list", "runs.command:list_command", "Show the recorded runs, newest first."),
    _reads(
        "runs show",
        "runs.command:show_command",
        "Show one run: its operator, time, reason, and the change to each row.",
    ),
    _writes("runs resume", "runs.command:resume_command", "Continue a run that was interrupted or stopped."),
    _writes("runs cancel", "runs.command:cancel_command", "Cancel a run; its remaining rows stay unchanged."),
    _writes("cleanup", "cleanup.command:cleanup_command", "Delete published events past the retention period."),
    _reads("stats", "stats.command:stats_command", "Show the backlog, its age, and when it will be empty."),
    _reads("report", "report.command:report_command", "Report on a time window, for a hand-over or an incident."),
    _writes(
        "reconcile payments",
        "reconcile.payments:payments_command",
        "Ask the gateways for the status of payments, and settle them.",
    ),
    _reads("reconcile outbox", "reconcile.outbox:outbox_command", "Compare the outbox with the messages in Kafka."),
    _writes(
        "simulate",
        "simulate.command:simulate_command",
        "Create a signed callback, as the gateway would send it.",
    ),
    _writes("listen", "listen.command:listen_command", "Receive callbacks on this machine, as the webhook would."),
    _writes("demo", "demo.command:demo_command", "Run everything locally: callbacks in, Kafka messages out."),
    _writes("doctor", "doctor.command:doctor_command", "Check everything that payctl needs, and say what to fix."),
    _reads(
        "gateways list", "gateways.command:list_command", "Show which gateways are configured, and with which keys."
    ),
    _writes(
        "gateways register-webhook",
        "gateways.command:register_webhook_command",
        "Register the webhook's URL with PayOS.",
    ),
    _reads("config show", "config.command:show_command", "Show every setting and its source."),
    _reads("config path", "config.command:path_command", "Show where the configuration file is."),
    _reads("config validate", "config.command:validate_command", "Check every setting, and list the errors."),
    _writes("db upgrade", "db:upgrade_command", "Upgrade payctl's own schema."),
    _reads("db status", "db:status_command", "Show which migrations of payctl's schema have run."),
    _reads("cdc config", "cdc:config_command", "Print Debezium's configuration for this database."),
    _writes(
        "cdc cut-over",
        "cdc:cut_over_command",
        "Hand the outbox to Debezium: create its slot and send the earlier events.",
    ),
    _writes("cdc mark", "cdc:mark_command", "Mark the events that Debezium has sent, as found in Kafka."),
    _writes(
        "cdc cut-back",
        "cdc:cut_back_command",
        "Take the outbox back from Debezium: mark its events, drop its slot.",
    ),
    _reads("schema", "schema:schema_command", "Print the JSON Schema of a command's output."),
    _reads("completion", "completion:completion_command", "Print a shell's completion script."),
    _reads("version", "version:version_command", "Show the versions of payctl and of its packages."),
    _reads("help", "help:help_command", "Show help for a command, or a page on a topic."),
)

GROUPS: dict[tuple[str, ...], str] = {
    ("list",): "List events, payments or stored callbacks.",
    ("runs",): "Show, resume and cancel recorded runs.",
    ("reconcile",): "Compare the database with the gateways and with Kafka.",
    ("gateways",): "Show which gateway keys are set, or register the webhook.",
    ("config",): "Show and check payctl's configuration.",
    ("cdc",): "Hand the outbox over to Debezium, or take it back.",
    ("db",): "Manage payctl's own tables in the payment database.",
}
"""The first words of each command group, with the group's help."""

PANELS: dict[str, tuple[str, ...]] = {
    "Every day": ("stats", "show", "report", "doctor"),
    "Look closer": ("list", "errors", "runs", "verify-signature"),
    "Repair": ("replay", "reconcile", "process-webhook", "close"),
    "Run on a schedule": ("publish-outbox", "cleanup"),
    "Set up": ("config", "db", "gateways", "cdc", "completion"),
    "Build": ("demo", "simulate", "listen", "schema", "version", "help"),
}
"""The headings in `payctl --help`, each with its commands' first words. A test checks that no command is missing."""

START: dict[str, str] = {
    "payctl demo": "see payctl work, without any setup",
    "payctl doctor": "check the settings, the database, Kafka and the keys",
    "payctl stats": "see whether events are waiting, and what to do",
}
"""The commands that `payctl --help` suggests to new users. A test runs them."""


FIRST_SCREEN: dict[str, dict[str, str]] = {
    "See it work, without any setup": {
        "payctl demo --keep": "the full tour, with orders that need repair",
        "payctl verify-signature --example momo": "check that a callback is genuine",
    },
    "Every day": {
        "payctl stats": "are events waiting, and why?",
        "payctl show ORDER": "why does this order have no ticket?",
        "payctl report": "who paid but still has no ticket?",
        "payctl doctor": "what is wrong, and how do I fix it?",
    },
    "Repair": {
        "payctl errors": "why are events dead?",
        "payctl replay --failed --dry-run": "what would be sent again?",
        "payctl reconcile payments --dry-run": "which callbacks never arrived?",
    },
}
"""The groups of command lines that `payctl` without arguments shows.

Each command line has a note with its effect, or with the question that it answers. A test runs the command lines.
"""


def children(prefix: tuple[str, ...]) -> dict[str, str]:
    """Return the words that can follow ``prefix``, with their help, in the order of ``COMMANDS``."""
    found: dict[str, str] = {}
    for entry in COMMANDS:
        if entry.words[: len(prefix)] == prefix and len(entry.words) > len(prefix):
            words = entry.words[: len(prefix) + 1]
            found.setdefault(words[-1], GROUPS.get(words, entry.help))
    return found


def find(words: tuple[str, ...]) -> CommandEntry | None:
    """Return the command with exactly these words, or None."""
    return next((entry for entry in COMMANDS if entry.words == words), None)


def near(prefix: tuple[str, ...], word: str) -> list[str]:
    """Return the commands that a user who typed ``word`` after ``prefix`` may have meant, most likely first.

    Return the commands that begin with the word. If there are none, return the commands that contain the word, or else
    the commands with a similar word.
    """
    here = list(children(prefix))
    lowered = word.lower()
    begun = [each for each in here if lowered and each.startswith(lowered)]
    if begun:
        return [" ".join((*prefix, each)) for each in begun]
    named = [entry.name for entry in COMMANDS if lowered in _parts(entry)]
    if named:
        return named
    close = [" ".join((*prefix, each)) for each in alike(word, here)]
    if close:
        return close
    parts = alike(word, sorted({part for entry in COMMANDS for part in _parts(entry)}))
    return [entry.name for entry in COMMANDS if parts and parts[0] in _parts(entry)]


def _parts(entry: CommandEntry) -> list[str]:
    return [part for word in entry.words for part in (word, *word.split("-"))]


def alike(word: str, known: list[str]) -> list[str]:
    """Return the known words that begin with ``word``.

    If there are none, return the known words with a similar spelling.
    """
    lowered = word.lower()
    return [each for each in known if lowered and each.startswith(lowered)] or get_close_matches(lowered, known)


def did_you_mean(near: Sequence[str]) -> str:
    """Return the end of an error message that suggests these commands."""
    return f"; did you mean {' or '.join(near)}?" if near else ""


def schema_name(command: str) -> str:
    """Return the name of the first version of a command's output schema, such as ``payctl.db-upgrade/1``."""
    return f"payctl.{command.replace(' ', '-')}/1"
