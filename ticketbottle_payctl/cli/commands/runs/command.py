"""``payctl runs``: what operators ran, who, when and why; resume and cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.list.page import is_uuid, position_of
from ticketbottle_payctl.cli.commands.replay.plan_view import noun, superseded_blocks, superseded_row
from ticketbottle_payctl.cli.commands.replay.progress import watched
from ticketbottle_payctl.cli.commands.replay.result import result_of, signalled
from ticketbottle_payctl.cli.commands.runs.result import listed, shown
from ticketbottle_payctl.cli.input import change_options, selector_options
from ticketbottle_payctl.cli.output.result import Fields, Result, good, line
from ticketbottle_payctl.cli.profile.actor import who_runs
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve, permit
from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.jobs.replay import ReplayOptions, cancel_run, resume_run, superseded_in
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import replay
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Run

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its first characters.")]
_DEFAULT_LIMIT = 20
_SHORTEST_PREFIX = 4


def list_command(
    ctx: typer.Context,
    *,
    limit: selector_options.Limit = None,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended: its `next`.")] = None,
) -> None:
    """Show what operators ran, the latest first."""
    session = Session.of(ctx)
    position = position_of(after, is_id=is_uuid)
    session.note_target()
    most = limit or _DEFAULT_LIMIT
    with transaction(session.services.engine, Limits(), commit=False) as connection:
        found = runs.page(connection, most + 1, (position.at, position.id) if position else None)
    session.finish(listed(found[:most], more=len(found) > most))


def show_command(ctx: typer.Context, run: RunId, *, limit: selector_options.Limit = None) -> None:
    """Show one run: who, when, why, and each row as it was and as it became."""
    session = Session.of(ctx)
    found = _find(session, run)
    most = limit or _DEFAULT_LIMIT
    with transaction(session.services.engine, Limits(), commit=False) as connection:
        items = runs.items(connection, found.id, most + 1)
        _, remaining = replay.remaining(connection, found.id)
    session.finish(shown(found, items[:most], remaining=remaining, more=len(items) > most))


def resume_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    run: RunId,
    *,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Go on with a run that was interrupted or stopped.

    Its plan is applied as it was made, with its own options. A row that changed since is skipped.
    """
    session = Session.of(ctx)
    found = _find(session, run)
    with transaction(session.services.engine, Limits(), commit=False) as connection:
        _, events = replay.remaining(connection, found.id)
    wanted = ReplayOptions.restored(found.options)
    harm = superseded_in(session.services.engine, found)
    about = (("run", found.id), ("started", found.started_at), ("by", found.who.os_user), ("left", events))
    plan = [Fields((*about, superseded_row(harm, wanted))), *superseded_blocks(harm)]
    approve(session, Act("resume", events, noun(events, harm), plan), Approval(yes, reason, max_affected, confirm))
    with stop_on_signals() as stop, watched(session, events, wanted) as tell:
        report = resume_run(
            session.services.engine,
            found,
            who_runs(session),
            reason,
            max_retries=session.settings.max_retries,
            stop=stop.event,
            tell=tell,
        )
    result = result_of(report, plan=None, named=False, superseded=harm, schema="payctl.runs-resume/1")
    session.finish(signalled(result, report, stop.exit_code))


def cancel_command(
    ctx: typer.Context,
    run: RunId,
    *,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """End a run for good: what it did not reach stays as it is.

    Also a replay that is at work elsewhere: it stops before its next transaction. What was requeued stays requeued. Any
    other command at work is stopped where it runs, with Ctrl-C.
    """
    session = Session.of(ctx)
    found = _find(session, run)
    permit(session, "cancel a run", Approval(yes=yes, reason=reason, confirm=confirm))
    remaining = cancel_run(session.services.engine, found, who_runs(session), reason)
    over = found.status == runs.RunStatus.DONE
    said = "it was done already" if over else f"cancelled; {remaining:,} events stay as they are"
    status = found.status if over else runs.RunStatus.CANCELLED.value
    session.finish(
        Result(
            "payctl.runs-cancel/1",
            counts={"remaining": remaining},
            result={"status": status},
            human=[line(good("✔"), said), Fields((("run", found.id),))],
            run_id=found.id,
        )
    )


def _find(session: Session, prefix: str) -> Run:
    """The one run that is meant.

    Raises:
        NotFoundError: there is none.
        InputError: there are several, or it is too short to mean one.
    """
    session.note_target()
    if len(prefix) < _SHORTEST_PREFIX or not set(prefix.lower()) <= set("0123456789abcdef-"):
        message = "that is no run's id"
        raise InputError(message, hint="payctl runs list")
    with transaction(session.services.engine, Limits(), commit=False) as connection:
        found = runs.find(connection, prefix)
    if not found:
        message = "there is no run of that id"
        raise NotFoundError(message, hint="payctl runs list")
    if len(found) > 1:
        message = "more than one run's id begins so"
        raise InputError(message, hint="give more of it")
    return found[0]
