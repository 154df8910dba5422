"""Implement ``payctl runs``, which shows, resumes and cancels recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.list.page import Wide, is_uuid, position_of, shows_in_brief
from ticketbottle_payctl.cli.commands.replay.plan_view import superseded_blocks, superseded_note, superseded_row
from ticketbottle_payctl.cli.commands.replay.progress import watched
from ticketbottle_payctl.cli.commands.replay.result import result_of, signalled
from ticketbottle_payctl.cli.commands.runs.facts import CancelFacts, RemainingCounts
from ticketbottle_payctl.cli.commands.runs.result import listed, shown
from ticketbottle_payctl.cli.input import change_options, selector_options
from ticketbottle_payctl.cli.input.stored_ids import run_ids
from ticketbottle_payctl.cli.input.times import zone_of
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.list_summary import Place
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bold, good, headline, line, warn
from ticketbottle_payctl.cli.profile.actor import who_runs
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.cli.safety.confirm import APPROVED_ROWS, Act, Approval, approve, permit
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.replay import ReplayOptions, cancel_run, report_finished, resume_run, superseded_in
from ticketbottle_payctl.jobs.runs import count_remaining, find_run, list_runs, show_run
from ticketbottle_payctl.store.payctl.runs import Run, RunStatus

RunId = Annotated[
    str, typer.Argument(metavar="RUN", autocompletion=run_ids, help="A run's id, or its first characters.")
]
_DEFAULT_LIMIT = 20
_RESUMED = "payctl.runs-resume/1"


def list_command(
    ctx: typer.Context,
    *,
    limit: selector_options.Limit = None,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Show the next page: the `next` value of the previous one.")
    ] = None,
    wide: Wide = False,
) -> None:
    """Show the recorded runs, newest first.

    A publish-outbox without --on-dead release is not recorded.
    """
    session = Session.of(ctx)
    position = position_of(after, is_id=is_uuid)
    session.note_target()
    before = (position.at, position.id) if position else None
    page = list_runs(session.services.engine, limit or _DEFAULT_LIMIT, before)
    brief = (zone_of(session), session.services.now()) if shows_in_brief(session, wide=wide) else None
    session.finish(listed(session, page.runs, more=page.more, place=Place.after(after), brief=brief))


def show_command(ctx: typer.Context, run: RunId, *, limit: selector_options.Limit = None, wide: Wide = False) -> None:
    """Show one run: its operator, time, reason, and the change to each row.

    For a replay, also say what has happened to its events since, and which command comes next. For publish-outbox,
    cleanup and cdc, only the counts are recorded.
    """
    session = Session.of(ctx)
    session.note_target()
    details = show_run(session.services.engine, run, limit or _DEFAULT_LIMIT, session.settings.max_retries)
    adviser = Adviser(session, f"resume {details.run.command}")
    brief = (zone_of(session), session.services.now()) if shows_in_brief(session, wide=wide) else None
    session.finish(shown(details, adviser, brief))


def resume_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    run: RunId,
    *,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Continue a run that was interrupted or stopped.

    The command applies the rest of the run's plan with the original options, including --max-affected. The command
    skips rows that have changed since the plan was made.
    """
    session = Session.of(ctx)
    session.note_target()
    found = find_run(session.services.engine, run)
    done = report_finished(session.services.engine, found, max_retries=session.settings.max_retries)
    if done is not None:
        result = result_of(done, plan=None, named=False, adviser=Adviser(session, "resume"), schema=_RESUMED)
        mark = good("✔") if result.exit_code is ExitCode.DONE else warn("!")
        head, rows = line(mark, "the run is already done; nothing was changed"), [("finished", found.finished_at)]
        human: list[Block] = [head, *(_with_rows(block, rows) for block in result.human[1:])]
        session.finish(replace(result, human=human))
    events = count_remaining(session.services.engine, found)
    wanted = ReplayOptions.restored(found.options)
    harm = superseded_in(session.services.engine, found)
    about = (("run", found.id), ("started", found.started_at), ("by", found.who.os_user), ("left", events))
    first = line(bold("Plan"), f"set {count(events, 'event')} back to pending")
    plan = [first, Fields((*about, superseded_row(harm, wanted))), *superseded_blocks(harm)]
    act = Act("resume", events, "event", plan, superseded_note(harm))
    approve(session, act, Approval(yes, reason, max_affected or _approved_rows(found), confirm))
    adviser = Adviser(session, reason or "resume")
    with stop_on_signals() as stop, watched(adviser, events, wanted, resumed=True) as watch:
        report = resume_run(
            session.services.engine,
            found,
            who_runs(session.services.environ),
            reason,
            max_retries=session.settings.max_retries,
            stop=stop.event,
            tell=watch.tell,
            on_canary=watch.on_canary,
            resume_with=adviser.changing(["runs", "resume"], [found.id]),
        )
    result = result_of(report, plan=None, named=False, adviser=adviser, superseded=harm, schema=_RESUMED)
    session.finish(signalled(result, report, stop.exit_code))


def _with_rows(block: Block, rows: Sequence[tuple[str, object]]) -> Block:
    """Return the block. In a list of fields, insert the rows after the first row, which contains the run's id."""
    return Fields((block.rows[0], *rows, *block.rows[1:])) if isinstance(block, Fields) else block


def _approved_rows(run: Run) -> int | None:
    """Return how many rows were approved for the run, or None if an older version of payctl did not record this."""
    approved = run.options.get(APPROVED_ROWS)
    return approved if isinstance(approved, int) and approved > 0 else None


def cancel_command(
    ctx: typer.Context,
    run: RunId,
    *,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Cancel a run; its remaining rows stay unchanged.

    A replay that is running elsewhere stops before its next transaction. Events that were already requeued stay
    requeued. To stop any other command, press Ctrl-C where it is running.
    """
    session = Session.of(ctx)
    session.note_target()
    found = find_run(session.services.engine, run)
    permit(session, "cancel a run", Approval(yes=yes, reason=reason, confirm=confirm))
    remaining = cancel_run(session.services.engine, found, who_runs(session.services.environ), reason)
    over = found.status in {RunStatus.DONE, RunStatus.INCOMPLETE}
    incomplete = found.status == RunStatus.INCOMPLETE
    ended = "the run had already ended without finishing its work" if incomplete else "the run had already finished"
    left = f"; {count(remaining, 'event')} not changed" if remaining else ""
    said = ended if over else f"cancelled{left}"
    counts: RemainingCounts = {"remaining": remaining}
    facts: CancelFacts = {"status": found.status if over else RunStatus.CANCELLED}
    session.finish(
        Result(
            "payctl.runs-cancel/1",
            counts=counts,
            result=facts,
            human=[headline(good("✔"), said), Fields((("run", found.id),))],
            run_id=found.id,
        )
    )
