"""Every command in one line: its words, where it is, what it does. Nothing is imported until one is chosen.

A new command is one file with one function, one line here that says whether it only reads, and one line in
``docs/schemas.py`` that names the types of its output. A test holds each line against the function's own docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

_HERE = "ticketbottle_payctl.cli.commands"


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command: ``words`` as typed, ``target`` as ``module:function`` in this package, the first line of its help.

    ``writes`` says that it can change rows, send messages or callbacks. Each such command asks ``guard`` first, and a
    test holds it to that.
    """

    words: tuple[str, ...]
    target: str
    help: str
    writes: bool

    @property
    def name(self) -> str:
        """As typed: ``db upgrade``."""
        return " ".join(self.words)

    def load(self) -> Callable[..., None]:
        """Import the command's module and give its function."""
        module, _, function = self.target.partition(":")
        loaded: Callable[..., None] = getattr(import_module(f"{_HERE}.{module}"), function)
        return loaded


def _reads(words: str, target: str, summary: str) -> CommandEntry:
    return CommandEntry(tuple(words.split()), target, summary, writes=False)


def _writes(words: str, target: str, summary: str) -> CommandEntry:
    return CommandEntry(tuple(words.split()), target, summary, writes=True)


COMMANDS: tuple[CommandEntry, ...] = (
    _reads(
        "verify-signature", "verify_signature:verify_signature_command", "Prove a gateway's callback, or say why not."
    ),
    _writes(
        "process-webhook", "process_webhook:process_webhook_command", "Settle a payment from a gateway's callback."
    ),
    _writes(
        "publish-outbox",
        "publish_outbox.command:publish_outbox_command",
        "Carry pending events to Kafka, in order per payment.",
    ),
    _writes("replay", "replay.command:replay_command", "Put events back to pending, to be published again."),
    _reads("list outbox", "list.command:outbox_command", "Show events of the outbox, newest first."),
    _reads("list payments", "list.command:payments_command", "Show payments, newest first."),
    _reads("list receipts", "list.command:receipts_command", "Show the callbacks that were kept, newest first."),
    _reads("show", "show:show_command", "Show everything about one payment or event, in order of time."),
    _reads("errors", "errors:errors_command", "Show why events are not published: their last errors, grouped."),
    _reads("runs list", "runs.command:list_command", "Show what operators ran, the latest first."),
    _reads(
        "runs show",
        "runs.command:show_command",
        "Show one run: who, when, why, and each row as it was and as it became.",
    ),
    _writes("runs resume", "runs.command:resume_command", "Go on with a run that was interrupted or stopped."),
    _writes("runs cancel", "runs.command:cancel_command", "End a run for good: what it did not reach stays as it is."),
    _writes(
        "cleanup", "cleanup.command:cleanup_command", "Delete events that were published longer ago than the retention."
    ),
    _reads(
        "stats", "stats.command:stats_command", "Show what waits in the outbox, since when, and when it will be empty."
    ),
    _writes(
        "reconcile payments",
        "reconcile.payments:payments_command",
        "Ask the gateways what became of payments, and settle them.",
    ),
    _reads("reconcile outbox", "reconcile.payments:outbox_command", "Compare the outbox with what lies in Kafka."),
    _writes(
        "simulate",
        "simulate.command:simulate_command",
        "Make a gateway's callback for a payment, signed with the configured keys.",
    ),
    _writes("listen", "listen:listen_command", "Answer gateways' callbacks on this machine, as production would."),
    _writes("demo", "demo.command:demo_command", "Show the whole path in a local world: callbacks in, messages out."),
    _writes(
        "doctor", "doctor.command:doctor_command", "Prove that everything payctl needs is there, and say what mends it."
    ),
    _reads("config show", "config.command:show_command", "Show every setting with where it came from."),
    _reads("config path", "config.command:path_command", "Show where the configuration file is."),
    _reads("config validate", "config.command:validate_command", "Check every setting, and list what is wrong."),
    _writes("db upgrade", "db:upgrade_command", "Bring payctl's own schema up to date."),
    _reads("db status", "db:status_command", "Show which steps of payctl's schema the database has."),
    _reads("cdc config", "cdc:config_command", "Print Debezium's configuration for this database."),
    _writes(
        "cdc cut-over",
        "cdc:cut_over_command",
        "Hand the outbox over to Debezium: make its slot, send what lies before it.",
    ),
    _writes("cdc mark", "cdc:mark_command", "Mark as published what Debezium has sent, as Kafka tells it."),
    _writes(
        "cdc cut-back",
        "cdc:cut_back_command",
        "Take the outbox back from Debezium: mark what it has sent, remove its slot.",
    ),
    _reads("schema", "schema:schema_command", "Print the JSON Schema of a command's output."),
    _reads("completion", "completion:completion_command", "Print a shell's completion script."),
    _reads("version", "version:version_command", "Show the versions of payctl and of the packages it uses."),
)

GROUPS: dict[tuple[str, ...], str] = {
    ("list",): "Events, payments and kept callbacks, by selectors.",
    ("runs",): "What operators ran: who, when, why, and what it touched.",
    ("reconcile",): "Compare what is known here with what the gateways and Kafka know.",
    ("config",): "What payctl was told, and by whom.",
    ("cdc",): "Let Debezium publish the outbox, and take it back.",
    ("db",): "payctl's own schema in the payment service's database.",
}
"""Words that stand before others, with their help."""


def children(prefix: tuple[str, ...]) -> dict[str, str]:
    """The words that may follow ``prefix``, with their help, in the catalogue's order."""
    found: dict[str, str] = {}
    for entry in COMMANDS:
        if entry.words[: len(prefix)] == prefix and len(entry.words) > len(prefix):
            words = entry.words[: len(prefix) + 1]
            found.setdefault(words[-1], GROUPS.get(words, entry.help))
    return found


def find(words: tuple[str, ...]) -> CommandEntry | None:
    """The command of exactly these words."""
    return next((entry for entry in COMMANDS if entry.words == words), None)


def schema_name(command: str) -> str:
    """The first version of the output of a command: ``payctl.db-upgrade/1``."""
    return f"payctl.{command.replace(' ', '-')}/1"
