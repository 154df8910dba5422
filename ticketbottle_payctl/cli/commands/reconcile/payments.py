"""Implement ``payctl reconcile payments``, which settles payments whose status the gateways report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.argv import ARGUMENTS
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.reconcile.payments_facts import Reconciled, needs_a_look
from ticketbottle_payctl.cli.commands.reconcile.payments_result import result_of
from ticketbottle_payctl.cli.commands.reconcile.payments_view import plan_blocks
from ticketbottle_payctl.cli.input import change_options, selector_options
from ticketbottle_payctl.cli.input.durations import duration, per_second
from ticketbottle_payctl.cli.input.times import age
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.output.result import bold, line
from ticketbottle_payctl.cli.safety.advised import DRY_RUN, Adviser
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve
from ticketbottle_payctl.cli.safety.recorded import new_run
from ticketbottle_payctl.domain.payment import OVERDUE_AFTER
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.formats import PLACEHOLDER, count
from ticketbottle_payctl.jobs.reconcile.database_clock import database_clock
from ticketbottle_payctl.jobs.reconcile.endpoints import status_endpoints
from ticketbottle_payctl.jobs.reconcile.settle_payments import (
    LOCKED,
    Candidates,
    find_named,
    find_overdue,
    settle_findings,
)
from ticketbottle_payctl.jobs.reconcile.status_poller import AskOptions, StatusFinding, ask_gateways
from ticketbottle_payctl.providers.queries import known_since
from ticketbottle_payctl.store.payments.overdue import Overdue

_LIMIT = 500

Names = Annotated[list[str] | None, typer.Argument(metavar="[ORDER-CODE|ID...]", help="Only these payments.")]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        parser=age, metavar="20m", help="Payments that have been PENDING for longer than this [default: 20m]."
    ),
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=100_000, help="Ask about at most N payments [default: 500].")
]
Rate = Annotated[
    float | None, typer.Option(parser=per_second, metavar="5/s", help="Limit the rate of queries [default: 5/s].")
]
Timeout = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="30s", help="Time limit for one response [default: 30s].")
]
Deadline = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="10m", help="Time limit for all responses [default: 10m].")
]
AskOnly = Annotated[bool, typer.Option("-n", "--dry-run", help="Ask, show the plan, and change nothing.")]


def payments_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    names: Names = None,
    *,
    older_than: OlderThan = None,
    provider: selector_options.Provider = None,
    limit: Limit = None,
    rate: Rate = None,
    timeout: Timeout = None,
    deadline: Deadline = None,
    dry_run: AskOnly = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Ask the gateways for the status of payments, and settle them.

    The command asks about payments that have been PENDING for too long, or only about the payments that you name. It
    shows the responses and a plan, and after your confirmation settles the payments as a callback would. If the gateway
    says "pending" or reports a different amount, the payment does not change. If the gateway does not know a payment,
    look in the gateway's portal, and record what you found with `payctl close`. `payctl runs` shows the record of the
    run.
    """
    session = Session.of(ctx)
    if names and (older_than is not None or provider is not None or limit is not None):
        message = "named payments cannot be combined with --older-than, --provider or --limit"
        raise typer.BadParameter(message)
    services = session.services
    endpoints = status_endpoints(services.environ, services.credentials, production=session.settings.is_production)
    session.note_target()
    now = database_clock(services.engine)
    wanted = _overdue(now(), older_than or OVERDUE_AFTER, provider)
    chosen = find_overdue(services.engine, wanted, limit or _LIMIT) if not names else _named(session, names)
    default = AskOptions()
    asking = AskOptions(rate or default.rate, timeout or default.timeout, deadline or default.deadline)
    with stop_on_signals() as stop:
        with bar("asking", len(chosen.payments), quiet=session.shared.quiet) as tell:
            found: list[StatusFinding] = []
            for finding in ask_gateways(chosen.payments, endpoints, asking, now=now, stop=stop.event):
                found.append(finding)
                tell(len(found))
        to_settle = sum(finding.settles for finding in found)
        if dry_run or stop.event.is_set() or not to_settle:
            again = Adviser(session, reason or "reconcile payments").again
            apply = again(ctx.meta[ARGUMENTS], without=DRY_RUN, rows=to_settle) if dry_run and to_settle else None
            it = Reconciled(found, now(), chosen.more, chosen.too_old, chosen.closed, dry_run=dry_run, apply=apply)
            session.finish(result_of(_with_next(session, replace(it, stopped=stop.exit_code))))
    plan = [
        line(bold("Plan"), f"settle {count(to_settle, 'payment')}"),
        *plan_blocks(found, is_plan=True, closed=chosen.closed, at=now()),
    ]
    act = Act("settle", to_settle, "payment", plan)
    approve(session, act, Approval(yes, reason, max_affected, confirm))
    _settle(session, found, reason, chosen)


def _overdue(now: datetime, older: timedelta, provider: str | None) -> Overdue:
    return Overdue(now - older, known_since(now), provider)


def _named(session: Session, names: list[str]) -> Candidates:
    chosen = find_named(session.services.engine, names)
    if chosen.missing:
        message = f"no payment has this order code or id: {', '.join(chosen.missing)}"
        raise NotFoundError(message, hint="payctl list payments")
    return chosen


def _settle(session: Session, found: list[StatusFinding], reason: str | None, chosen: Candidates) -> None:
    run = new_run(session, "reconcile payments", reason)
    with (
        stop_on_signals() as stop,
        bar("settling", sum(each.settles for each in found), quiet=session.shared.quiet) as tell,
    ):
        done = settle_findings(session.services.engine, found, run, stop=stop.event, tell=tell)
    settled = {each.payment_id: each for each in done}
    any_event = any(each.outcome == "settled" for each in done)
    publish = Adviser(session, "reconcile payments").publishing() if any_event else None
    at = database_clock(session.services.engine)()
    it = Reconciled(found, at, chosen.more, chosen.too_old, chosen.closed, settled, run_id=run.id, publish=publish)
    session.finish(result_of(_with_next(session, replace(it, stopped=stop.exit_code))))


def _with_next(session: Session, it: Reconciled) -> Reconciled:
    """Return the facts with the next commands, which are None if no payment needs them.

    ``look`` shows the first payment that needs a decision. ``locks`` shows which session has locked the outbox.
    ``close`` closes the first payment that a person must look for in the gateway's portal.
    """
    code = next((each.payment.order_code for each in it.findings if needs_a_look(each)), None)
    look = Adviser(session, "reconcile payments").reading(["show"], [code]) if code else None
    close = Adviser(session, PLACEHOLDER).changing(["close"], [it.in_portal]) if it.in_portal else None
    locked = any(each.reason == LOCKED for each in it.done.values())
    locks = Adviser(session, "").reading(["doctor"], (), ["--only", "backlog"]) if locked else None
    return replace(it, look=look, close=close, locks=locks)
