"""Implement ``payctl publish-outbox``, which runs the scheduled function's job on demand or as a service."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.argv import ARGUMENTS
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.publish_outbox.preview_result import result_of_preview
from ticketbottle_payctl.cli.commands.publish_outbox.progress import watched
from ticketbottle_payctl.cli.commands.publish_outbox.result import result_of
from ticketbottle_payctl.cli.commands.publish_outbox.without_brokers_words import without_brokers
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.input.durations import duration, per_second
from ticketbottle_payctl.cli.input.event_types import event_types
from ticketbottle_payctl.cli.safety.advised import DRY_RUN, Adviser
from ticketbottle_payctl.cli.safety.confirm import Approval, permit
from ticketbottle_payctl.cli.safety.recorded import new_run
from ticketbottle_payctl.domain.causes import NO_LATE_FAILURES, LateFailures
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.find_risks import find_risks
from ticketbottle_payctl.jobs.publish_outbox import (
    OnDead,
    PublishOptions,
    StoppedBecause,
    preview_outbox,
    publish_outbox,
)
from ticketbottle_payctl.store.outbox.orders_at_risk import LONGEST, known_late_failures

_PART_FOR_SEARCH = 0.25
"""The part of --deadline that each of the two statements of the search for late failure events may take."""

BatchSize = Annotated[
    int | None, typer.Option(min=1, max=50_000, help="Events per batch [default: OUTBOX_BATCH_SIZE].")
]
MaxBatches = Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after N batches.")]
Loop = Annotated[
    bool, typer.Option("--loop/--until-empty", help="Keep publishing new events, or stop when nothing is left.")
]
Deadline = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="50s", help="After this time, stop before the next batch.")
]
Rate = Annotated[float | None, typer.Option(parser=per_second, metavar="500/s", help="Limit the rate of publishing.")]
EventType = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE", help="Only events of this type; repeatable.",
        autocompletion=event_types,
    ),
]  # fmt: skip
Dead = Annotated[
    OnDead, typer.Option("--on-dead", help="When an event is dead, block or release the later events of its payment.")
]
HealthFile = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="With --loop: touch this file every few seconds unless payctl hangs.",
    ),
]


def publish_outbox_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    loop: Loop = False,
    batch_size: BatchSize = None,
    max_batches: MaxBatches = None,
    deadline: Deadline = None,
    rate: Rate = None,
    event_type: EventType = None,
    on_dead: Dead = OnDead.BLOCK,
    health_file: HealthFile = None,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Show which events would be published, die or wait; change nothing.")
    ] = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Publish pending events to Kafka, in order per payment.

    Delivery is at least once: an event is marked as published after the brokers have acknowledged it. An unavailable
    broker uses up no retries. After Ctrl-C or SIGTERM, the current batch is finished or released. Exit 6 if events
    failed or were held back, if a customer is waiting for a dead event, or if a dead event has an unknown type. Exit 6
    also if a run without --loop may have sent a failure event of a paid order. Exit 9 if another publisher holds the
    outbox, and 4 if payctl could not read which events wait. The first line says why. `payctl runs` shows the runs with
    --on-dead release.
    """
    session = Session.of(ctx)
    types = _known_types(event_type or [], loop=loop)
    settings = session.settings
    wanted = PublishOptions(
        batch_size=batch_size or settings.batch_size,
        max_retries=settings.max_retries,
        max_batches=max_batches,
        budget=deadline,
        loop=loop,
        rate=rate,
        types=types,
        on_dead=on_dead,
        shards=settings.shards,
    )
    session.note_target(brokers=True)
    adviser = Adviser(session, reason or "publish")
    if dry_run:
        apply = adviser.again(ctx.meta[ARGUMENTS], without=DRY_RUN)
        engine = session.services.engine
        preview, risks = preview_outbox(engine, wanted), find_risks(engine, settings.max_retries)
        session.finish(result_of_preview(preview, risks, apply, adviser.reading))
    permit(session, "publish-outbox", Approval(reason=reason, confirm=confirm))
    run = None
    if on_dead is OnDead.RELEASE:
        told = {"on_dead": on_dead, "type": types, "loop": loop}
        run = new_run(session, "publish-outbox", reason, options=told)
    with stop_on_signals() as stop, watched(session, wanted, health_file) as observer:
        began = time.monotonic()
        late: LateFailures | None = NO_LATE_FAILURES
        if not loop:
            longest = LONGEST if deadline is None else min(deadline * _PART_FOR_SEARCH, LONGEST)
            late = known_late_failures(session.services.engine, settings.max_retries, longest)
        if deadline is not None:
            left = deadline - timedelta(seconds=time.monotonic() - began)
            wanted = replace(wanted, budget=max(left, timedelta(0)))
        report = publish_outbox(
            session.services.engine,
            session.services.producer,
            wanted,
            stop=stop.event,
            observer=observer,
            recorded_as=run,
        )
    if report.failure is not None and report.counts.published:
        session.note(f"published {count(report.counts.published, 'event')} before this:")
    if report.stopped_because is StoppedBecause.BROKER_UNAVAILABLE:
        for words in without_brokers(report, adviser.reading):
            session.note_below(words)
    session.finish(
        result_of(report, loop=loop, reason=reason, signalled=stop.exit_code, reading=adviser.reading, late=late)
    )


def _known_types(types: list[str], *, loop: bool) -> tuple[str, ...]:
    unknown = [name for name in types if name not in TOPICS]
    if unknown:
        message = f"no such event type: {', '.join(unknown)}; the types are {', '.join(TOPICS)}"
        raise typer.BadParameter(message, param_hint="--type")
    if types and loop:
        # An event of these types may have to wait for a new event of another type.
        message = "--type cannot be combined with --loop, which publishes every type"
        raise typer.BadParameter(message, param_hint="--type")
    return tuple(types)
