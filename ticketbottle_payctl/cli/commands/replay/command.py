"""Implement ``payctl replay``, which sets events back to pending, so that the publisher sends them again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.argv import ARGUMENTS
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.replay.plan_file import StoredPlan, read_plan, write_plan
from ticketbottle_payctl.cli.commands.replay.plan_view import plan_blocks, superseded_note
from ticketbottle_payctl.cli.commands.replay.progress import watched
from ticketbottle_payctl.cli.commands.replay.result import result_of, result_of_pending, result_of_plan, signalled
from ticketbottle_payctl.cli.input import change_options, selector_options
from ticketbottle_payctl.cli.input.durations import duration, per_second
from ticketbottle_payctl.cli.input.selector import selector_of
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.cli.safety.confirm import APPROVED_ROWS, Act, Approval, approve, max_affected, refuse_early
from ticketbottle_payctl.cli.safety.recorded import new_run
from ticketbottle_payctl.errors import GuardError, InputError
from ticketbottle_payctl.jobs.replay import ReplayOptions, changes_nothing, count_replay, plan_replay, refreshed
from ticketbottle_payctl.jobs.replay import replay as apply_replay
from ticketbottle_payctl.store.outbox.selector import Selector, WindowBy

Rate = Annotated[
    float | None, typer.Option(parser=per_second, metavar="500/s", help="Limit the rate at which events are requeued.")
]
Canary = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=1000, help="Requeue N events first, and the rest after those are published."),
]
CanaryPatience = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="5m", help="Time limit for the canary [default: 5m].")
]
MaxErrors = Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after N failures.")]
PlanOut = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the plan to a file; change nothing.")]
PlanIn = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Apply a plan from a file.")]
SELECTORS = (
    "ids, - (stdin), --from-file, --failed, --stuck, --published, --type, --aggregate, --order-code, --provider, "
    "--since, --until, --error, --error-group; or --all for every unpublished event"
)


def replay_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    ids: selector_options.Ids = None,
    *,
    from_file: selector_options.FromFile = None,
    failed: selector_options.Failed = False,
    stuck: selector_options.Stuck = False,
    age: selector_options.Age = None,
    published: selector_options.Published = False,
    allow_published: Annotated[
        bool,
        typer.Option("--allow-published", help="Also requeue published events: consumers see them twice."),
    ] = False,
    types: selector_options.Types = None,
    aggregates: selector_options.Aggregates = None,
    order_codes: selector_options.OrderCodes = None,
    provider: selector_options.Provider = None,
    since: selector_options.Since = None,
    until: selector_options.Until = None,
    by: selector_options.ByInstant = WindowBy.CREATED,
    error: selector_options.ErrorPattern = None,
    error_group: selector_options.ErrorGroup = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the oldest N.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every unpublished event.")] = False,
    allow_superseded: Annotated[
        bool,
        typer.Option(
            "--allow-superseded",
            help="Also requeue failures of payments that are COMPLETED now. Harmful: customers lose their tickets.",
        ),
    ] = False,
    rate: Rate = None,
    canary: Canary = None,
    canary_timeout: CanaryPatience = None,
    max_errors: MaxErrors = None,
    plan_out: PlanOut = None,
    plan: PlanIn = None,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Show the plan; change nothing.")] = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Set events back to pending, to publish them again.

    An event must match every selector. If you give several of --failed, --stuck and --published, one of them is enough.
    The command shows a plan and asks for confirmation. Rows that have changed since the plan are skipped. Failed and
    cancelled events of a payment that is now COMPLETED are left out, because sending them again would take tickets away
    from customers who have paid. Events of an unknown type are also left out, because they have no topic. Events that
    failed because they are too large for payctl are left out too. `payctl runs` shows the record of the run.
    """
    session = Session.of(ctx)
    if canary_timeout is not None and canary is None:
        message = "--canary-timeout needs --canary"
        raise typer.BadParameter(message)
    selector = selector_of(
        session,
        ids=ids,
        from_file=from_file,
        failed=failed,
        stuck=stuck,
        age=age,
        published=published,
        types=types,
        aggregates=aggregates,
        order_codes=order_codes,
        provider=provider,
        since=since,
        until=until,
        by=by,
        error=error,
        error_group=error_group,
        limit=limit,
    )
    allowed = _Allowed(allow_published, allow_superseded)
    approval = Approval(yes, reason, max_affected, confirm)
    looks, named = dry_run or plan_out is not None, selector.ids is not None
    unpublished = allow_published and not selector.published and not named
    stored = (
        _planned(session, selector, allowed, None if looks else approval, everything=everything)
        if plan is None
        else _read(session, selector, allowed, plan, everything=everything)
    )
    wanted = ReplayOptions(
        allow_published=stored.allow_published,
        allow_superseded=stored.allow_superseded,
        rate=rate,
        canary=canary,
        canary_patience=canary_timeout or ReplayOptions().canary_patience,
        max_errors=max_errors,
    )
    adviser = Adviser(session, reason or "replay")
    if named and plan_out is None and not stored.plan.left_out and changes_nothing(stored.plan):
        session.finish(result_of_pending(stored.plan, wanted, adviser, dry_run=dry_run))
    if plan_out is not None:
        write_plan(plan_out, stored)
    if plan_out is not None or dry_run:
        typed = ctx.meta[ARGUMENTS]
        session.finish(
            result_of_plan(
                stored.plan,
                wanted,
                named=named,
                adviser=adviser,
                plan_file=plan_out,
                unpublished=unpublished,
                typed=typed,
            )
        )
    approve(
        session,
        Act(
            "replay",
            len(stored.plan.events),
            "event",
            plan_blocks(stored.plan, wanted, adviser.before_replay() if stored.plan.events else None),
            superseded_note(stored.plan.superseded),
        ),
        approval,
    )
    if not stored.plan.events:
        session.finish(
            result_of_plan(stored.plan, wanted, named=named, adviser=adviser, nothing=True, unpublished=unpublished)
        )
    _run(adviser, stored, wanted, approval, named=named)


@dataclass(frozen=True, slots=True)
class _Allowed:
    published: bool = False
    superseded: bool = False


def _planned(
    session: Session, selector: Selector, allowed: _Allowed, approval: Approval | None, *, everything: bool
) -> StoredPlan:
    """Make a plan. If ``approval`` is None, the plan will only be shown, so it may have any length.

    Raises:
        InputError: no selector was given, or --all contradicts a selector.
        GuardError: published events were selected without --allow-published, or the plan is over the limit.
    """
    if selector.is_empty and not everything:
        message = "no events were selected"
        raise InputError(message, hint=f"select by {SELECTORS}")
    if everything and _names_a_part(selector):
        message = "--all cannot be combined with ids, --failed, --stuck or --published"
        raise InputError(
            message, hint="--all means every unpublished event; --type, --since and similar selectors narrow it"
        )
    if selector.published and not allowed.published:
        message = "--published needs --allow-published: consumers would see the events twice"
        raise GuardError(message, hint="add --allow-published if that is intended")
    session.note_target()
    engine, most = session.services.engine, session.settings.max_retries
    allow = {"allow_published": allowed.published, "allow_superseded": allowed.superseded}
    if approval is not None:
        number = count_replay(engine, selector, max_retries=most, **allow)
        refuse_early(session, Act("replay", number, "event"), approval)
    made = plan_replay(engine, selector, max_retries=most, **allow)
    return StoredPlan(made, _database(session), selector.described(), allowed.published, allowed.superseded)


def _names_a_part(selector: Selector) -> bool:
    """Return whether the selector contradicts --all, which means every unpublished event."""
    return selector.ids is not None or selector.failed or selector.stuck is not None or selector.published


def _read(session: Session, selector: Selector, allowed: _Allowed, path: Path, *, everything: bool) -> StoredPlan:
    """Read the plan from a file.

    Raises:
        InputError: selectors or --allow options were also given, the file is not a plan or was changed, or the plan is
            for another database.
    """
    if selector != Selector() or everything or allowed != _Allowed():
        message = "--plan cannot be combined with selectors, --all, --allow-published or --allow-superseded"
        raise InputError(message, hint="these options are part of the plan; make a new plan to change them")
    stored = read_plan(path)
    if stored.database != _database(session):
        message = f"the plan is for {stored.database}, but DATABASE_URL is {_database(session)}"
        raise InputError(message, hint="use the profile or DATABASE_URL with which the plan was made")
    session.note_target()
    plan = refreshed(session.services.engine, stored.plan, allow_superseded=stored.allow_superseded)
    return replace(stored, plan=plan)


def _run(adviser: Adviser, stored: StoredPlan, wanted: ReplayOptions, approval: Approval, *, named: bool) -> None:
    session = adviser.session
    options = wanted.stored() | {APPROVED_ROWS: max_affected(session, approval)}
    run = new_run(session, "replay", approval.reason, selector=stored.selector, options=options)
    with stop_on_signals() as stop, watched(adviser, len(stored.plan.events), wanted) as watch:
        report = apply_replay(
            session.services.engine,
            stored.plan,
            run,
            wanted,
            max_retries=session.settings.max_retries,
            stop=stop.event,
            tell=watch.tell,
            on_canary=watch.on_canary,
            resume_with=adviser.changing(["runs", "resume"], [run.id]),
        )
    result = result_of(report, plan=stored.plan, named=named, adviser=adviser, superseded=stored.plan.superseded)
    session.finish(signalled(result, report, stop.exit_code))


def _database(session: Session) -> str:
    return str(session.settings.database.place)
