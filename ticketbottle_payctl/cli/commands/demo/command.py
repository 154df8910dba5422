"""``payctl demo``: the whole path in a world of its own, which is gone when the command ends."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Annotated, NoReturn

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.demo.result import result_of, result_of_kept
from ticketbottle_payctl.cli.commands.demo.timeline import arrival_lines
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.output.result import Result, dim
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.sandbox.demo import Arrival, World, follow, leave_backlog, local_world, play
from ticketbottle_payctl.sandbox.demo.world import Say

Keep = Annotated[bool, typer.Option("--keep", help="Stay until Ctrl-C, and print the settings to use it meanwhile.")]


def demo_command(ctx: typer.Context, *, keep: Keep = False, yes: change_options.Yes = False) -> None:
    """Show the whole path in a local world: callbacks in, messages out.

    Starts a PostgreSQL of its own and a broker in this process, or uses KAFKA_BROKERS where that is set; a cluster
    beyond this machine only with --yes. Exit 0 if every callback was decided and every message arrived as it must,
    6 if not. Nothing is left behind.
    """
    session = Session.of(ctx)
    kafka = _given_kafka(session, yes=yes)
    with ExitStack() as everything:
        with _spoken(session) as say:
            world = everything.enter_context(local_world(kafka, say))
            report = play(world, say)
        if keep:
            _stay(session, world, result_of_kept(report, world, leave_backlog(world)))
    session.finish(result_of(report))


def _stay(session: Session, world: World, result: Result) -> NoReturn:
    """Answer, then wait for a signal and tell what arrives until then. A demo that went wrong keeps its code."""

    def show(arrival: Arrival) -> None:
        for shown in arrival_lines(arrival):
            session.note(*shown.parts)

    with stop_on_signals() as stop:
        session.answer(result)
        session.note(dim("it stays until Ctrl-C; what arrives in the topics is shown here"))
        follow(world, stop.event, show)
    session.note(dim("stopped: the servers end, their data is removed"))
    raise typer.Exit(int(result.exit_code or stop.exit_code or 0))


def _given_kafka(session: Session, *, yes: bool) -> Mapping[str, str]:
    """``KAFKA_*`` where brokers are named, else nothing.

    Raises:
        GuardError: the brokers are not on this machine and it was not said that they may have the demo's messages,
            or the profile's guard forbids it.
    """
    environ, guard = session.services.environ, session.profile.guard
    brokers = environ.get("KAFKA_BROKERS", "").strip()
    if not brokers:
        return {}
    if guard.protected or guard.read_only:
        message = f"the profile {session.profile.name} is guarded: its Kafka is not for a demo"
        raise GuardError(message, hint="choose another profile, or none")
    if not yes and not all(_is_here(broker) for broker in brokers.split(",")):
        message = f"KAFKA_BROKERS is {brokers}: the demo would send its messages to a cluster beyond this machine"
        raise GuardError(message, hint="unset KAFKA_BROKERS for a broker of the demo's own, or give --yes")
    return {name: value for name, value in environ.items() if name.startswith("KAFKA_")}


def _is_here(broker: str) -> bool:
    host = broker.strip().rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _spoken(session: Session) -> Iterator[Say]:
    """What is being done, in one line of a terminal's stderr that goes away; elsewhere nothing."""
    if session.shared.quiet or not is_terminal(sys.stderr):
        yield lambda _words: None
        return
    from rich.console import Console  # noqa: PLC0415 - rich, only where it draws

    with Console(stderr=True).status("") as status:
        yield lambda words: status.update(f"{words} ...")
