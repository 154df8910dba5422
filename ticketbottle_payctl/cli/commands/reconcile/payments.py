"""``payctl reconcile``: what the gateways know about payments, and what Kafka holds of the outbox."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.reconcile.gateways import status_endpoints
from ticketbottle_payctl.cli.commands.reconcile.payments_result import Reconciled, plan_blocks, result_of
from ticketbottle_payctl.cli.input import change_options, selector_options
from ticketbottle_payctl.cli.input.durations import duration, per_second
from ticketbottle_payctl.cli.input.selector import window
from ticketbottle_payctl.cli.input.times import age
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.profile.actor import who_runs
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.jobs.reconcile.settle_payments import Candidates, find_named, find_overdue, settle_findings
from ticketbottle_payctl.jobs.reconcile.status_poller import AskOptions, StatusFinding, ask_gateways
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.store.payctl.runs import NewRun
from ticketbottle_payctl.store.payments.overdue import Overdue

_OVERDUE = timedelta(minutes=20)
_LIMIT = 500
_READING = timedelta(minutes=2)

Names = Annotated[list[str] | None, typer.Argument(metavar="[ORDER-CODE|ID...]", help="These payments, and no other.")]
OlderThan = Annotated[
    timedelta | None, typer.Option(parser=age, metavar="20m", help="PENDING for longer than this [default: 20m].")
]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, max=100_000, help="Ask about no more [default: 500].")]
Rate = Annotated[
    float | None, typer.Option(parser=per_second, metavar="5/s", help="Ask no faster than this [default: 5/s].")
]
Timeout = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="30s", help="For one answer [default: 30s].")
]
Deadline = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="10m", help="For all answers [default: 10m].")
]
AskOnly = Annotated[bool, typer.Option("-n", "--dry-run", help="Ask, show the plan, and change nothing.")]

ReadDeadline = Annotated[
    timedelta | None,
    typer.Option("--deadline", parser=duration, metavar="2m", help="For reading Kafka [default: 2m]."),
]
RepairOut = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the ids of what is lost or wrong, for payctl replay.")
]


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
    """Ask the gateways what became of payments, and settle them.

    Asks about payments that are PENDING for too long, or about those that are named, shows what each gateway says and
    what would be done, and settles after a yes, as the callback would have. A gateway's "pending" stays pending; a
    wrong amount changes nothing. The run is recorded: `payctl runs`.
    """
    from ticketbottle_payctl.http_client import send  # noqa: PLC0415 - httpx, only here

    session = Session.of(ctx)
    if names and (older_than is not None or provider is not None or limit is not None):
        message = "payments that are named are a whole selection: give no --older-than, --provider or --limit"
        raise typer.BadParameter(message)
    endpoints = status_endpoints(session)
    session.note_target()
    chosen = _chosen(session, names, older_than or _OVERDUE, provider, limit or _LIMIT)
    default = AskOptions()
    asking = AskOptions(rate or default.rate, timeout or default.timeout, deadline or default.deadline)
    with stop_on_signals() as stop:
        with bar("asking", len(chosen.payments), quiet=session.shared.quiet) as tell:
            found: list[StatusFinding] = []
            for finding in ask_gateways(
                chosen.payments, endpoints, send, asking, now=session.services.now, stop=stop.event
            ):
                found.append(finding)
                tell(len(found))
        if dry_run or stop.event.is_set() or not any(finding.settles for finding in found):
            it = Reconciled(found, chosen.more, chosen.too_old, dry_run=dry_run, stopped=stop.exit_code)
            session.finish(result_of(it))
    act = Act("settle", sum(finding.settles for finding in found), "payment", plan_blocks(found))
    approve(session, act, Approval(yes, reason, max_affected, confirm))
    _settle(session, found, reason, chosen)


def _chosen(session: Session, names: list[str] | None, older: timedelta, provider: str | None, most: int) -> Candidates:
    engine = session.services.engine
    if not names:
        now = session.services.now()
        known_since = {name: now - query.within for name, query in QUERIES.items() if query.within is not None}
        return find_overdue(engine, Overdue(now - older, known_since, provider), most)
    chosen = find_named(engine, names)
    if chosen.missing:
        message = f"there is no payment of that order code or id: {', '.join(chosen.missing)}"
        raise NotFoundError(message, hint="payctl list payments")
    return chosen


def _settle(session: Session, found: list[StatusFinding], reason: str | None, chosen: Candidates) -> None:
    run = NewRun(
        str(uuid4()),
        "reconcile payments",
        who_runs(session.services.environ),
        reason=reason,
        profile=session.profile.name,
    )
    with (
        stop_on_signals() as stop,
        bar("settling", sum(each.settles for each in found), quiet=session.shared.quiet) as tell,
    ):
        done = settle_findings(session.services.engine, found, run, stop=stop.event, tell=tell)
    settled = {each.payment_id: each for each in done}
    it = Reconciled(found, chosen.more, chosen.too_old, settled, run_id=run.id, stopped=stop.exit_code)
    session.finish(result_of(it))


def outbox_command(
    ctx: typer.Context,
    *,
    since: selector_options.Since = "24h",
    until: selector_options.Until = None,
    deadline: ReadDeadline = None,
    repair_out: RepairOut = None,
) -> None:
    """Compare the outbox with what lies in Kafka.

    Looks at the published events that were created in the window: is each in its topic, once, with its own value and
    key, and in its payment's order? Changes nothing; what is lost or wrong can be written to a file for a replay. Exit
    5 if something is lost, wrong or out of order.
    """
    from ticketbottle_payctl.broker.config import connection_config  # noqa: PLC0415 - the Kafka client, only here
    from ticketbottle_payctl.broker.window import Window, WindowQuery, read_window  # noqa: PLC0415
    from ticketbottle_payctl.cli.commands.reconcile import outbox_result  # noqa: PLC0415
    from ticketbottle_payctl.jobs.reconcile.compare_outbox import compare_outbox  # noqa: PLC0415

    session = Session.of(ctx)
    if repair_out is not None:
        outbox_result.refuse_existing(repair_out)
    start, end = window(session, since, until, by="created")
    session.note_target(brokers=True)
    now = session.services.now()
    config = connection_config(session.settings.kafka)
    patience = deadline or _READING

    def read(topics: Sequence[str], first: datetime, wanted: Container[str]) -> Window:
        with bar("reading Kafka", quiet=session.shared.quiet) as tell:
            return read_window(config, WindowQuery(topics, first, wanted), patience, on_progress=tell)

    report = compare_outbox(session.services.engine, read, since=start or now - timedelta(days=1), until=end or now)
    ids = outbox_result.to_repair(report)
    if repair_out is not None and ids:
        outbox_result.write_ids(repair_out, ids)
    session.finish(outbox_result.result_of(report, repair_out))
