"""``payctl db``: payctl's own schema. The payment service's tables are never touched."""

from __future__ import annotations

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.output.result import Fields, Result, good, line, warn
from ticketbottle_payctl.cli.safety.confirm import Approval, permit
from ticketbottle_payctl.store.db import migrations


def upgrade_command(
    ctx: typer.Context,
    *,
    dry_run: change_options.DryRun = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Bring payctl's own schema up to date.

    Runs the steps the database lacks, in one transaction. Running it twice, also at once, is the same as once.
    """
    session = Session.of(ctx)
    session.note_target()
    if not dry_run:
        permit(session, "db upgrade", Approval(reason=reason, confirm=confirm))
    status = migrations.upgrade(session.services.engine, dry_run=dry_run)
    ran = list(status.pending)
    verb = "would run" if dry_run else "ran"
    headline = line(good("✔"), f"{verb} {len(ran)} of {len(ran) + len(status.applied)} steps" if ran else "up to date")
    session.finish(
        Result(
            "payctl.db-upgrade/1",
            counts={"applied": len(ran), "already_applied": len(status.applied)},
            result={"applied": ran, "already_applied": list(status.applied)},
            human=[headline, Fields(tuple((verb, name) for name in ran))],
            dry_run=dry_run,
        )
    )


def status_command(ctx: typer.Context) -> None:
    """Show which steps of payctl's schema the database has."""
    session = Session.of(ctx)
    status = migrations.status(session.services.engine)
    pending = list(status.pending)
    headline = (
        line(warn("!"), f"{len(pending)} steps are missing: payctl db upgrade")
        if pending
        else line(good("✔"), "up to date")
    )
    rows = [("applied", name) for name in status.applied] + [("missing", name) for name in pending]
    session.finish(
        Result(
            "payctl.db-status/1",
            counts={"applied": len(status.applied), "pending": len(pending)},
            result={"up_to_date": not pending, "applied": list(status.applied), "pending": pending},
            human=[headline, Fields(tuple(rows))],
        )
    )
