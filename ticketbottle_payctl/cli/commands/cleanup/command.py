"""Implement ``payctl cleanup``, which runs the same job as the scheduled function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.cleanup.result import plan_of, result_of
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.times import age, zone_of
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve, permit
from ticketbottle_payctl.cli.safety.recorded import new_run
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.cleanup import CleanupPreview, Swept, cleanup, preview_cleanup
from ticketbottle_payctl.settings import Settings

OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        parser=age, metavar="30d", help="Delete events published longer ago than this [default: OUTBOX_RETENTION_DAYS]."
    ),
]
KeepNewest = Annotated[
    timedelta | None,
    typer.Option(parser=age, metavar="6h", help="Keep events that are younger than this."),
]
BatchSize = Annotated[int, typer.Option(min=1, max=50_000, help="Events deleted in one transaction.")]
MaxDuration = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="50s", help="After this time, stop before the next batch.")
]
ArchiveFile = Annotated[
    Path | None,
    typer.Option("--archive", metavar="FILE.ndjson.gz", help="Append the events to this file before they are deleted."),
]
Receipts = Annotated[
    timedelta | None,
    typer.Option(parser=age, metavar="400d", help="Also delete stored callbacks older than this [default: none]."),
]
DryRun = Annotated[
    bool, typer.Option("-n", "--dry-run", help="Show how many rows and bytes would be deleted; delete nothing.")
]


def cleanup_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    older_than: OlderThan = None,
    keep_newest: KeepNewest = None,
    batch_size: BatchSize = 2000,
    max_duration: MaxDuration = None,
    archive: ArchiveFile = None,
    receipts_older_than: Receipts = None,
    dry_run: DryRun = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Delete published events past the retention period.

    A cleanup never deletes pending or dead events. A cleanup only counts these events and lists their errors. After
    Ctrl-C or SIGTERM, the current batch is finished, and the next run deletes the rest. You must confirm a cleanup that
    deletes callbacks, or whose retention is shorter than the configured retention or the profile's retention. If the
    database role is allowed to write the record, payctl records each run that deletes something.
    """
    session = Session.of(ctx)
    if archive is not None and archive.suffix != ".gz":
        message = f"the archive's name {archive} must end in .gz, so that zcat can read it"
        raise typer.BadParameter(message, param_hint="--archive")
    settings = session.settings
    retention = settings.retention if older_than is None else older_than
    session.note_target()

    def preview() -> CleanupPreview:
        with bar("counting", quiet=session.shared.quiet):
            return preview_cleanup(
                session.services.engine,
                retention=retention,
                max_retries=settings.max_retries,
                keep_newest=keep_newest,
                receipts_older_than=receipts_older_than,
            )

    planned = None
    if not dry_run:
        approval = Approval(yes=yes, reason=reason, max_affected=max_affected, confirm=confirm)
        routine = retention >= _kept_for(session) and receipts_older_than is None
        planned = _allow(session, approval, preview, routine=routine)
    told = {"older_than": older_than, "keep_newest": keep_newest, "receipts_older_than": receipts_older_than}
    run = new_run(session, "cleanup", reason, options=told | {"archive": archive})
    with stop_on_signals() as stop, _watched(session, planned, "counting" if dry_run else "deleting") as done:
        report = cleanup(
            session.services.engine,
            retention=retention,
            max_retries=settings.max_retries,
            batch_size=batch_size,
            max_duration=max_duration,
            keep_newest=keep_newest,
            receipts_older_than=receipts_older_than,
            planned=planned,
            archive=archive,
            dry_run=dry_run,
            run=run,
            stop=stop.event,
            done=done,
        )
    result = result_of(report, archive=archive, zone=zone_of(session), reason=reason)
    session.finish(replace(result, exit_code=stop.exit_code or result.exit_code))


def _kept_for(session: Session) -> timedelta:
    """Return the effective retention period.

    If the environment sets a shorter period than the profile, return the profile's.

    Raises:
        ConfigError: a setting is invalid.
    """
    own = {**session.services.environ, **session.profile.hidden}
    return max(session.settings.retention, Settings.from_env(own).retention)


def _allow(
    session: Session, approval: Approval, preview: Callable[[], CleanupPreview], *, routine: bool
) -> CleanupPreview | None:
    """Ask for approval, unless the run is routine and deletes no more rows than the limit.

    Return the approved plan, or None if no plan was needed.
    """
    cap = session.guard.max_affected if approval.max_affected is None else approval.max_affected
    if routine and cap is None:
        permit(session, "cleanup", approval)
        return None
    found = preview()
    affected = found.matched + found.receipts
    if routine and cap is not None and affected <= cap:
        permit(session, "cleanup", approval)
        return found
    plan = plan_of(found, zone_of(session))
    parts = f"{count(found.matched, 'event')}, {count(found.receipts, 'callback')}"
    events, rows = Act("delete", affected, "published event", plan), Act("delete", affected, "row", plan, parts)
    approve(session, rows if found.receipts else events, approval)
    return found


@contextmanager
def _watched(session: Session, planned: CleanupPreview | None, word: str) -> Iterator[Callable[[Swept], None]]:
    """Draw a progress bar. The bar has a total only if a plan was made, because counting the rows takes a long time."""
    with bar(word, planned.matched + planned.receipts if planned else None, quiet=session.shared.quiet) as tell:
        yield lambda swept: tell(swept.deleted + swept.receipts)
