"""``payctl reconcile outbox``: compare the outbox with the messages in Kafka."""

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
from ticketbottle_payctl.cli.input import selector_options
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.selector import window
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.jobs.reconcile.compare_outbox import compare_outbox

_READING = timedelta(minutes=2)

ReadDeadline = Annotated[
    timedelta | None,
    typer.Option("--deadline", parser=duration, metavar="2m", help="Time limit for reading Kafka [default: 2m]."),
]
RepairOut = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the ids of lost or wrong events for payctl replay.")
]


def outbox_command(
    ctx: typer.Context,
    *,
    since: selector_options.Since = "24h",
    until: selector_options.Until = None,
    deadline: ReadDeadline = None,
    repair_out: RepairOut = None,
) -> None:
    """Compare the outbox with the messages in Kafka.

    Checks the published events that were created in the window: is each in its topic, once, with its own value and key,
    and in its payment's order? Changes nothing. --repair-out writes the ids of lost or wrong events for a replay. Exit
    5 if an event is lost, wrong or out of order.
    """
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
