"""List the variables that only the command line reads."""

from __future__ import annotations

from ticketbottle_payctl.cli.commands.config import names
from ticketbottle_payctl.cli.commands.config.variable import (
    CLI,
    FILE,
    NONE,
    RECONCILE,
    TEXT,
    URL,
    Variable,
)

COMMAND_LINE = (
    Variable("PAYCTL_PROFILE", TEXT, NONE, (CLI,), "staging", "The profile, if `-p` is not given."),
    Variable("PAYCTL_CONFIG", FILE, "~/.config/payctl/config.toml", (CLI,), "ops.toml", "The configuration file."),
    Variable(
        "PAYCTL_OUTPUT",
        "table, json, ndjson, csv or none",
        "table",
        (CLI,),
        "json",
        "The output format, if `-o` is not given.",
    ),
    Variable("PAYCTL_ACTOR", TEXT, NONE, (CLI,), "linh@example.com", "The operator's name in the record of a run."),
    *(
        Variable(
            name,
            URL,
            "the gateway's own",
            (CLI, RECONCILE),
            "http://127.0.0.1:8080",
            "The server that payctl asks instead of the gateway: a test server or your own reverse proxy.",
        )
        for name in names.ASKED_AT
    ),
    Variable("NO_COLOR", TEXT, NONE, (CLI,), "1", "Any value switches colours off."),
    Variable("TERM", TEXT, NONE, (CLI,), "dumb", "If dumb, payctl does not show colours or progress."),
    Variable(
        "HOME", "directory", NONE, (CLI,), "/home/linh", "The directory of .config, if XDG_CONFIG_HOME is not set."
    ),
    Variable(
        "XDG_CONFIG_HOME", "directory", "~/.config", (CLI,), "/etc/payctl", "The directory of payctl/config.toml."
    ),
    Variable(
        "XDG_CACHE_HOME",
        "directory",
        "~/.cache",
        (CLI,),
        "/var/cache",
        "The directory in which `payctl demo` caches PostgreSQL's files.",
    ),
)
