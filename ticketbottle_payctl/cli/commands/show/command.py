"""Implement ``payctl show``, which shows an order's state and history, from the callback to the Kafka message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.show.view import Reader, result_of
from ticketbottle_payctl.cli.input.selector_options import order_name
from ticketbottle_payctl.cli.input.times import database_clock_of
from ticketbottle_payctl.jobs.order import show as show_history


def show_command(
    ctx: typer.Context,
    name: Annotated[str, order_name("payment, event or callback")],
    *,
    unmask: Annotated[
        bool, typer.Option("--unmask", help="Show all fields of the payloads, personal data included.")
    ] = False,
) -> None:
    """Show an order's state, and the history of its payment.

    The verdict comes first. Below it is the history in chronological order: callbacks, payment, events, replays and, if
    KAFKA_BROKERS is set, the messages in the topics. The command to run next comes last. Exit 0 if nothing is open, 5
    if something is.
    """
    session = Session.of(ctx)
    kafka = _kafka(session)
    session.note_target(brokers=kafka is not None)
    now = database_clock_of(session)()
    timeline = show_history(
        session.services.engine,
        name,
        max_retries=session.settings.max_retries,
        kafka=kafka,
        retention=session.settings.retention,
        now=now,
    )
    session.finish(result_of(timeline, Reader(session, now, unmask=unmask)))


def _kafka(session: Session) -> Mapping[str, str | int | bool] | None:
    if not session.services.environ.get("KAFKA_BROKERS", "").strip():
        return None
    return connection_config(session.settings.kafka)
