"""Complete order codes, and the ids of runs, error groups and callbacks, for a shell.

The completions come from the database. The user's shell is blocked until they arrive, so payctl answers within about a
second. If anything fails, the answer is empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from threading import Thread

import typer

from ticketbottle_payctl.cli.profile.profiles import load
from ticketbottle_payctl.formats import count, local, money
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.wiring import Services, hide_secrets

PATIENCE = 1.0
"""The longest time in seconds that payctl waits for the database's answer."""

Described = tuple[str, str]


def run_ids(ctx: typer.Context, incomplete: str) -> list[Described]:
    """Return the latest runs whose id begins with ``incomplete``."""

    def read(services: Services) -> list[Described]:
        from ticketbottle_payctl.jobs.complete_ids import latest_runs  # noqa: PLC0415 - loads the driver

        return [
            (run.id, f"{run.command}, {run.status}, {_at(run.started_at)}, {run.reason or 'no reason given'}")
            for run in latest_runs(services.engine)
        ]

    return _begin(ctx, incomplete, read)


def error_groups(ctx: typer.Context, incomplete: str) -> list[Described]:
    """Return the largest error groups whose id begins with ``incomplete``."""

    def read(services: Services) -> list[Described]:
        from ticketbottle_payctl.jobs.complete_ids import largest_error_groups  # noqa: PLC0415 - loads the driver

        found = largest_error_groups(services.engine, services.settings.max_retries)
        return [(each.group, f"{count(each.count, 'event')}: {redact(each.pattern)}") for each in found]

    return _begin(ctx, incomplete, read)


def order_codes(ctx: typer.Context, incomplete: str) -> list[Described]:
    """Return the order codes that begin with ``incomplete``, each with the payment's status and amount."""

    def read(services: Services) -> list[Described]:
        from ticketbottle_payctl.jobs.complete_ids import orders_beginning_with  # noqa: PLC0415 - loads the driver

        found = orders_beginning_with(services.engine, incomplete)
        return [(each.code, f"{each.status}, {money(each.amount, each.currency)}") for each in found]

    return _begin(ctx, incomplete, read)


def receipt_ids(ctx: typer.Context, incomplete: str) -> list[Described]:
    """Return the latest stored callbacks whose id begins with ``incomplete``."""

    def read(services: Services) -> list[Described]:
        from ticketbottle_payctl.jobs.complete_ids import latest_receipts  # noqa: PLC0415 - loads the driver

        return [
            (
                str(row["id"]),
                ", ".join(str(row[name]) for name in ("provider", "order_ref", "result", "reason") if row[name]),
            )
            for row in latest_receipts(services.engine)
        ]

    return _begin(ctx, incomplete, read)


def _begin(ctx: typer.Context, incomplete: str, read: Callable[[Services], list[Described]]) -> list[Described]:
    """Return the ids that ``read`` finds within :data:`PATIENCE`.

    The thread that calls ``read`` does not delay payctl's exit.
    """
    found: list[Described] = []

    def ask() -> None:
        with suppress(Exception):
            found.extend(read(services))

    try:
        services = Services(_environ(ctx))
        _ = services.engine  # load the driver before the time limit starts
    except Exception:  # noqa: BLE001 - a shell's completion must not show configuration errors
        return []
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return [each for each in list(found) if each[0].startswith(incomplete)]


def _environ(ctx: typer.Context) -> Mapping[str, str]:
    """Return the environment with the settings of the profile that was given before or after the command's name."""

    def typed(name: str) -> str | None:
        level: typer.Context | None = ctx
        while level is not None:
            if value := level.params.get(name):
                return str(value)
            level = level.parent  # type: ignore[assignment]  # Typer's Context has its own type of parent
        return os.environ.get(f"PAYCTL_{name.upper()}")

    hide_secrets(os.environ)
    environ = load(typed("profile"), typed("config"), os.environ).environ
    hide_secrets(environ)
    return environ


def _at(moment: datetime) -> str:
    return local(moment, moment.astimezone().tzinfo or moment.tzinfo)[:16]  # type: ignore[arg-type]
