"""Implement ``payctl demo``, which runs everything locally, on servers that stop when the command ends."""

from __future__ import annotations

import ipaddress
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.demo.result import result_of, result_of_kept
from ticketbottle_payctl.cli.commands.demo.timeline import arrival_lines
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.output.progress import status
from ticketbottle_payctl.cli.output.result import Result, dim
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.sandbox.demo import Arrival, World, follow, local_world, play
from ticketbottle_payctl.sandbox.demo import keep as keep_running

Keep = Annotated[
    bool, typer.Option("--keep", help="Keep the servers running until Ctrl-C, and print the settings for using them.")
]


def demo_command(ctx: typer.Context, *, keep: Keep = False, yes: change_options.Yes = False) -> None:
    """Run everything locally: callbacks in, Kafka messages out.

    The demo starts its own PostgreSQL and broker, or uses the brokers in KAFKA_BROKERS. A cluster on another machine
    needs --yes. With --keep, the servers run until Ctrl-C so that you can try other commands, and four orders are left
    for you to repair. Exit 0 if every callback and every message had the expected result, 6 if not. Everything is
    removed at the end.
    """
    session = Session.of(ctx)
    kafka = _given_kafka(session, yes=yes)
    with ExitStack() as everything:
        with status(quiet=session.shared.quiet) as say:
            world = everything.enter_context(local_world(kafka, say))
            report = play(world, say)
        if keep:
            kept = everything.enter_context(keep_running(world, report, _program_directory()))
            _stay(session, world, result_of_kept(report, kept))
    session.finish(result_of(report))


def _stay(session: Session, world: World, result: Result) -> NoReturn:
    """Print the result. Then show the messages that arrive, until a signal ends the demo.

    A failed demo keeps its exit code.
    """

    def show(arrival: Arrival) -> None:
        for shown in arrival_lines(arrival):
            session.note(*shown.parts)

    with stop_on_signals() as stop:
        code = session.answer(result)
        session.note(dim("running until Ctrl-C"))
        follow(world, stop.event, show)
    session.note(dim("stopping the servers and removing their data"))
    raise typer.Exit(int(code or stop.exit_code or 0))


def _program_directory() -> Path | None:
    """Return the directory of the running payctl, or None if the shell finds payctl on PATH."""
    program = Path(sys.argv[0])
    return program.absolute().parent if program.name == "payctl" and shutil.which("payctl") is None else None


def _given_kafka(session: Session, *, yes: bool) -> Mapping[str, str]:
    """Return the ``KAFKA_*`` settings, or an empty mapping if no brokers are configured.

    Raises:
        GuardError: the brokers are on another machine and --yes was not given, or the profile is protected or
            read-only.
    """
    environ, guard = session.services.environ, session.profile.guard
    brokers = environ.get("KAFKA_BROKERS", "").strip()
    if not brokers:
        return {}
    if guard.protected or guard.read_only:
        message = f"profile {session.profile.name} is protected or read-only, so the demo does not use its Kafka"
        raise GuardError(message, hint="use another profile, or none")
    if not yes and not all(_is_here(broker) for broker in brokers.split(",")):
        message = f"KAFKA_BROKERS is {brokers}: the demo would send messages to a cluster on another machine"
        raise GuardError(message, hint="unset KAFKA_BROKERS to use the demo's own broker, or add --yes")
    return {name: value for name, value in environ.items() if name.startswith("KAFKA_")}


def _is_here(broker: str) -> bool:
    host = broker.strip().rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
