"""Define the examples in each command's help. A test runs every example.

payctl loads this module only to show a single command's help, so it does not slow down other runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Example(NamedTuple):
    """A command line that a user can paste, and its effect. ``stays`` is True if the command runs until Ctrl-C."""

    line: str
    about: str
    stays: bool = False


EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "verify-signature": (
        Example("payctl verify-signature callback.json --provider momo", "Check a callback that was saved to a file."),
        Example(
            "payctl verify-signature --event event.json --explain",
            "Check an API Gateway event, and show the signed text.",
        ),
        Example(
            "payctl verify-signature --example momo --tamper amount",
            "Without your keys, check a built-in callback that was changed after signing.",
        ),
    ),
    "process-webhook": (
        Example(
            "payctl process-webhook callback.json --provider momo --dry-run",
            "Show what a callback would change, and change nothing.",
        ),
        Example("payctl process-webhook callback.json --provider momo", "Process it."),
        Example("payctl process-webhook --receipt 9c1f02aa", "Process a stored callback again."),
    ),
    "publish-outbox": (
        Example("payctl publish-outbox --dry-run", "Show what would be published; publish nothing."),
        Example("payctl publish-outbox", "Publish until nothing is pending."),
        Example(
            "payctl publish-outbox --loop --rate 500/s", "Keep publishing, at most 500 events a second.", stays=True
        ),
    ),
    "replay": (
        Example("payctl replay --failed --dry-run", "Show which dead events would be published again."),
        Example(
            'payctl replay --error-group 9a7dcd93 --yes --reason "broker is back"',
            "Requeue the events in one group of `payctl errors`.",
        ),
        Example(
            "payctl replay --stuck --age 1h --plan-out plan.json",
            "Write the plan to a file for review; `--plan plan.json` applies it.",
        ),
    ),
    "list outbox": (
        Example("payctl list outbox --failed", "Show the dead events."),
        Example("payctl list outbox --type PAYMENT_COMPLETED --since 2h", "Show the tickets sold in the last 2 hours."),
        Example(
            "payctl list outbox --stuck -o ndjson | payctl replay - --dry-run", "Plan a replay of the listed events."
        ),
    ),
    "list payments": (
        Example(
            "payctl list payments --stuck --age 30m", "Show payments that have been PENDING for more than 30 minutes."
        ),
        Example("payctl list payments --order-code TB-2041 -o json", "Show the payment of one order as JSON."),
        Example(
            "payctl list payments --status failed --fields order_code,amount",
            "Show two fields of the payments that failed.",
        ),
    ),
    "list receipts": (
        Example("payctl list receipts --result refused --since 24h", "Show the callbacks that were refused."),
        Example("payctl list receipts --order-code TB-2041", "Show the callbacks of one order."),
    ),
    "show": (
        Example("payctl show TB-2041", "Show the history of an order."),
        Example("payctl show 3f2a9c1e", "Show a payment, found by the first characters of its id."),
        Example("payctl show TB-2041 -o json | head -c 200", "Print the history as JSON for another program."),
    ),
    "errors": (
        Example("payctl errors", "Show why events are not published."),
        Example("payctl errors --failed --since 24h", "Show only the dead events of the last 24 hours."),
    ),
    "runs list": (
        Example("payctl runs list", "Show the runs of all operators."),
        Example("payctl runs list --limit 5 -o json", "Print the last five runs as JSON for another program."),
    ),
    "runs show": (
        Example("payctl runs show 5d0c7a12", "Show one run; the first characters of its id are enough."),
        Example("payctl runs show 5d0c7a12 -o csv", "Print its changes as CSV for a spreadsheet."),
    ),
    "runs resume": (
        Example("payctl runs resume 5d0c7a12 --yes", "Continue an interrupted replay without asking for confirmation."),
        Example(
            'payctl runs resume 5d0c7a12 --yes --reason "broker is back"', "Continue a run, and record the reason."
        ),
    ),
    "close": (
        Example("payctl close TB-2041 --dry-run", "Show which findings would be closed."),
        Example(
            'payctl close TB-2041 --yes --reason "refunded in the portal"',
            "Record that the customer got the money back.",
        ),
    ),
    "runs cancel": (
        Example(
            'payctl runs cancel 5d0c7a12 --yes --reason "wrong error group"', "Cancel a run, and record the reason."
        ),
        Example("payctl runs show 5d0c7a12", "Show which rows the cancelled run did not reach."),
    ),
    "cleanup": (
        Example("payctl cleanup --dry-run", "Show how much would be deleted; delete nothing."),
        Example(
            "payctl cleanup --older-than 30d --archive outbox.ndjson.gz", "Keep a copy of the deleted events in a file."
        ),
    ),
    "stats": (
        Example("payctl stats", "Show whether events are waiting, and for how long."),
        Example("payctl stats --watch", "Keep the figures up to date.", stays=True),
        Example(
            "payctl stats --check --max-age 5m --max-failed 0",
            "Check from a monitoring system: exit with 5 if something is wrong.",
        ),
    ),
    "report": (
        Example("payctl report > handover.md", "Write a report on the last 12 hours."),
        Example(
            "payctl report --since yesterday --until today --tz Asia/Ho_Chi_Minh",
            "Report on the whole previous day, in Vietnam's time.",
        ),
        Example("payctl report --since 24h --html report.html", "Write a page with plots."),
    ),
    "reconcile payments": (
        Example("payctl reconcile payments --dry-run", "Ask the gateways about overdue payments; change nothing."),
        Example("payctl reconcile payments TB-2041 --yes", "Ask about one order, and settle it if it was paid."),
    ),
    "reconcile outbox": (
        Example("payctl reconcile outbox --since 2h", "Check that Kafka has every event of the last 2 hours."),
        Example(
            "payctl reconcile outbox --since 2h --repair-out lost.txt", "Also write the ids of lost events to a file."
        ),
    ),
    "gateways list": (
        Example("payctl gateways list", "Show which gateways are configured."),
        Example("payctl gateways list -o json", "Print the gateways as JSON for another program."),
    ),
    "gateways register-webhook": (
        Example(
            "payctl gateways register-webhook payos https://shop.vn/webhook/payos -n",
            "Show the request to PayOS, and send nothing.",
        ),
        Example(
            "payctl gateways register-webhook payos https://shop.vn/webhook/payos --yes",
            "Register the URL; PayOS tests it immediately.",
        ),
    ),
    "simulate": (
        Example(
            "payctl simulate zalopay paid | payctl verify-signature - --provider zalopay",
            "Create a callback, and check its signature.",
        ),
        Example(
            "payctl simulate momo paid --order-code TB-2041 --to process-webhook",
            "Simulate the payment of an order in the database.",
        ),
        Example("payctl simulate payos wrong-amount -o json", "Create a callback with a wrong amount, as JSON."),
    ),
    "listen": (
        Example("payctl listen --port 0", "Receive callbacks on a free port.", stays=True),
        Example("payctl listen --port 0 -o ndjson", "Print one JSON line for each callback.", stays=True),
        Example(
            "payctl listen --port 0 --forward-to http://127.0.0.1:3000",
            "Pass genuine callbacks on to a service on this machine.",
            stays=True,
        ),
    ),
    "demo": (
        Example("payctl demo", "See payctl work, without any setup."),
        Example("payctl demo --keep", "Keep the servers running, to try other commands.", stays=True),
    ),
    "doctor": (
        Example("payctl doctor", "Check everything."),
        Example("payctl doctor --only kafka --only keys", "Check only Kafka and the gateways' keys."),
        Example("payctl doctor --bundle findings.json", "Write the findings to a file, without secrets."),
    ),
    "config show": (
        Example("payctl config show", "Show the effective settings."),
        Example("payctl config show --profile staging", "Show the settings of a profile."),
    ),
    "config path": (
        Example("payctl config path", "Show which configuration file is read."),
        Example('cat "$(payctl config path -o csv | tail -n 1 | cut -d, -f1)"', "Print that file."),
    ),
    "config validate": (
        Example("payctl config validate", "Check the effective settings."),
        Example("payctl config validate --profile staging", "Check the settings of a profile."),
        Example("payctl config validate --only database", "Check the settings of a job that needs no brokers."),
    ),
    "db upgrade": (
        Example("payctl db upgrade --dry-run", "Show which migrations are missing; run none."),
        Example("payctl db upgrade", "Run them."),
    ),
    "db status": (
        Example("payctl db status", "Show which migrations have run."),
        Example("payctl db status -o json", "Print the migrations as JSON for another program."),
    ),
    "cdc config": (
        Example("payctl cdc config > connector.properties", "Write the connector's properties to a file."),
        Example("payctl cdc config --sql", "Print only the SQL to run first."),
    ),
    "cdc cut-over": (
        Example("payctl cdc cut-over --dry-run", "Show how many events would be sent; change nothing."),
        Example('payctl cdc cut-over --yes --reason "moving to Debezium"', "Hand the outbox over to Debezium."),
    ),
    "cdc mark": (
        Example("payctl cdc mark --dry-run", "Show how many events would be marked."),
        Example("payctl cdc mark", "Mark them."),
    ),
    "cdc cut-back": (
        Example("payctl cdc cut-back --dry-run", "Show how many events would be marked; change nothing."),
        Example('payctl cdc cut-back --yes --reason "leaving Debezium"', "Take the outbox back from Debezium."),
    ),
    "schema": (
        Example("payctl schema", "List the schemas."),
        Example("payctl schema payctl.stats/1 > stats.schema.json", "Write the schema of one output to a file."),
    ),
    "completion": (
        Example("source <(payctl completion bash)", "Turn on completion in this bash shell."),
        Example("payctl completion fish > payctl.fish", "Write the completion script for fish to a file."),
    ),
    "version": (
        Example("payctl version", "Show the versions."),
        Example("payctl version -o json", "Print the versions as JSON for a bug report."),
    ),
    "help": (
        Example("payctl help times", "Show how to write a time or a duration."),
        Example("payctl help exit-codes", "Show what the exit codes mean."),
        Example("payctl help runs show", "Show help for a command."),
    ),
}
"""The examples for each command. Each key is the command as typed, without ``payctl``."""
