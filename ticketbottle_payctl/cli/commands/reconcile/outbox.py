"""Implement ``payctl reconcile outbox``, which compares the outbox with the messages in Kafka."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.broker.window import Window, WindowQuery, read_window
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.reconcile import outbox_result
from ticketbottle_payctl.cli.commands.replay.plan_file import StoredPlan, write_plan
from ticketbottle_payctl.cli.input import selector_options
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.selector import window
from ticketbottle_payctl.cli.input.times import database_clock_of
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.formats import rfc3339
from ticketbottle_payctl.jobs.reconcile.compare_outbox import OutboxComparison, compare_outbox
from ticketbottle_payctl.jobs.replay import ReplayPlan, plan_replay
from ticketbottle_payctl.store.outbox.selector import Selector

_READING = timedelta(minutes=2)

ReadDeadline = Annotated[
    timedelta | None,
    typer.Option("--deadline", parser=duration, metavar="2m", help="Time limit for reading Kafka [default: 2m]."),
]
RepairOut = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a plan that replays the lost events, for payctl replay --plan."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="List every event that differs or was not judged, with all columns.")
]


def outbox_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    since: selector_options.Since = "24h",
    until: selector_options.Until = None,
    deadline: ReadDeadline = None,
    repair_out: RepairOut = None,
    everything: Everything = False,
) -> None:
    """Compare the outbox with the messages in Kafka.

    The command checks that each published event in the window is in its topic exactly once, has the right value and
    key, and is in order within its payment. It changes nothing. --repair-out writes a plan for payctl replay --plan.
    Exit 5 if an event is lost, wrong or out of order, and 6 if an event was not found and payctl cannot tell whether it
    is lost.
    """
    session = Session.of(ctx)
    if repair_out is not None:
        outbox_result.refuse_existing(repair_out)
    start, end = window(session, since, until, by="created")
    session.note_target(brokers=True)
    now = database_clock_of(session)()
    config = connection_config(session.settings.kafka)
    patience = deadline or _READING

    def read(topics: Sequence[str], first: datetime, wanted: Container[str]) -> Window:
        with bar("reading Kafka", quiet=session.shared.quiet) as tell:
            return read_window(config, WindowQuery(topics, first, wanted), patience, on_progress=tell)

    first, last = start or now - timedelta(days=1), end or now
    report = compare_outbox(session.services.engine, read, since=first, until=last)
    plan = _repair(session, report)
    adviser = Adviser(session, "reconcile outbox: lost events")
    if plan.events and adviser.read_only is not None:
        repair = outbox_result.Repair(plan, None, None, adviser.read_only)
    elif repair_out is not None and plan.events:
        chosen: dict[str, object] = {"reconcile": "outbox"}
        stored = StoredPlan(plan, _database(session), chosen, allow_published=True, allow_superseded=False)
        write_plan(repair_out, stored)
        command = adviser.changing(["replay"], options=["--plan", str(repair_out)], rows=len(plan.events))
        repair = outbox_result.Repair(plan, repair_out, command)
    else:
        again = ["--since", rfc3339(first), "--until", rfc3339(last), "--repair-out", "repair.plan"]
        repair = outbox_result.Repair(plan, None, adviser.reading(["reconcile", "outbox"], options=again))
    session.finish(outbox_result.result_of(report, repair, everything=everything))


def _repair(session: Session, report: OutboxComparison) -> ReplayPlan:
    """Return the plan that sends the lost events again.

    Leave out events whose rows have changed since the comparison.
    """
    ids = outbox_result.to_repair(report)
    if not ids:
        return ReplayPlan()
    plan = plan_replay(
        session.services.engine,
        Selector(ids=tuple(ids)),
        max_retries=session.settings.max_retries,
        allow_published=True,
    )
    return outbox_result.unchanged(plan, report)


def _database(session: Session) -> str:
    return str(session.settings.database.place)
