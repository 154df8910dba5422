"""Implement ``payctl db``, which manages payctl's own schema and never changes the payment service's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.output.exit_codes import of_answer
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bad, good, line
from ticketbottle_payctl.cli.safety.confirm import Approval, permit
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.store.db import migrations


class UpgradeCounts(TypedDict):
    """The number of migrations that this run applied, and the number that earlier runs applied."""

    applied: Count
    already_applied: Count


class UpgradeFacts(TypedDict):
    """The migrations of an upgrade."""

    applied: Sequence[str]
    """The migrations that this run applied."""
    already_applied: Sequence[str]
    """The migrations that an earlier run applied."""


class StatusCounts(TypedDict):
    """The number of applied and of pending migrations."""

    applied: Count
    pending: Count


class StatusFacts(TypedDict):
    """The migrations that the database has, and those that are missing."""

    up_to_date: bool
    applied: Sequence[str]
    """The migrations that the database has."""
    pending: Sequence[str]
    """The migrations that are missing."""


def upgrade_command(
    ctx: typer.Context,
    *,
    dry_run: change_options.DryRun = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Upgrade payctl's own schema.

    The command runs the missing migrations in one transaction. You can safely run it again, or twice at the same time.
    """
    session = Session.of(ctx)
    session.note_target()
    if not dry_run:
        permit(session, "db upgrade", Approval(reason=reason, confirm=confirm))
    status = migrations.upgrade(session.services.engine, dry_run=dry_run)
    ran = list(status.pending)
    verb = "would run" if dry_run else "ran"
    headline = line(
        good("✔"), f"{verb} {len(ran)} of {count(len(ran) + len(status.applied), 'migration')}" if ran else "up to date"
    )
    counts: UpgradeCounts = {"applied": len(ran), "already_applied": len(status.applied)}
    facts: UpgradeFacts = {"applied": ran, "already_applied": list(status.applied)}
    session.finish(
        Result(
            "payctl.db-upgrade/1",
            counts=counts,
            result=facts,
            human=[headline, Fields(tuple((verb, name) for name in ran))],
            dry_run=dry_run,
        )
    )


def status_command(ctx: typer.Context) -> None:
    """Show which migrations of payctl's schema have run.

    Exit 5 if one is missing.
    """
    session = Session.of(ctx)
    session.note_target()
    status = migrations.status(session.services.engine)
    pending = list(status.pending)
    headline = (
        line(bad("✘"), f"{count(len(pending), 'migration')} missing: payctl db upgrade")
        if pending
        else line(good("✔"), "up to date")
    )
    rows = [("applied", name) for name in status.applied] + [("missing", name) for name in pending]
    counts: StatusCounts = {"applied": len(status.applied), "pending": len(pending)}
    facts: StatusFacts = {"up_to_date": not pending, "applied": list(status.applied), "pending": pending}
    human: list[Block] = [headline, Fields(tuple(rows))]
    code = of_answer(yes=not pending)
    session.finish(Result("payctl.db-status/1", code, counts=counts, result=facts, human=human))
