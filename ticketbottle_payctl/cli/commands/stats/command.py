"""Implement ``payctl stats``, which shows or checks the state of the outbox, or waits until a condition is met."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.stats.check import HealthLimits, checked
from ticketbottle_payctl.cli.commands.stats.live_screen import Read
from ticketbottle_payctl.cli.commands.stats.prometheus import exposition
from ticketbottle_payctl.cli.commands.stats.result import result_of, with_human
from ticketbottle_payctl.cli.commands.stats.wait import WaitCondition, wait_condition, wait_for
from ticketbottle_payctl.cli.commands.stats.watch import draws, watch, watch_picture
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.selector import window
from ticketbottle_payctl.cli.input.times import age, database_clock_of, is_age
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import Raw
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.jobs.stats import WINDOW, By, StatsReport, collect_stats, followed
from ticketbottle_payctl.jobs.stats.live import collect_live

Since = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="Measure rates and lags since this time, such as 24h (24 hours ago), yesterday or 09:00 [default: 1h].",
    ),
]
GroupBy = Annotated[
    By | None,
    typer.Option("--by", help="Group the counts by this property. With --watch, this works only on a terminal."),
]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Repeat until you press q or Ctrl-C.")]
Interval = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="2s", help="Pause between two readings of --watch or --wait."),
]
Check = Annotated[
    bool, typer.Option("--check", help="Exit 5 if an event is pending for too long, or too many are dead.")
]
MaxAge = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="5m", help="With --check: maximum age of a pending event [default: 5m]."),
]
MaxFailed = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="With --check: maximum number of dead events [default: 0].")
]
WaitFor = Annotated[
    WaitCondition | None,
    typer.Option(
        "--wait", parser=wait_condition, metavar="CONDITION", help="Wait until a condition holds, such as 'pending=0'."
    ),
]
Timeout = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration, metavar="5m", help="With --wait: give up after this time, with exit code 10 [default: 5m]."
    ),
]
Prometheus = Annotated[bool, typer.Option("--prometheus", help="Print metrics in Prometheus' text format.")]

_INTERVAL = timedelta(seconds=2)
_SHORTEST_INTERVAL = timedelta(milliseconds=200)
_SHORTEST_WINDOW = timedelta(seconds=1)
_MAX_AGE = timedelta(minutes=5)
_TIMEOUT = timedelta(minutes=5)


def stats_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    since: Since = None,
    by: GroupBy = None,
    watching: Watch = False,
    interval: Interval = None,
    check: Check = False,
    max_age: MaxAge = None,
    max_failed: MaxFailed = None,
    wait: WaitFor = None,
    timeout: Timeout = None,
    prometheus: Prometheus = False,
) -> None:
    """Show the backlog, its age, and when it will be empty.

    Pending and dead events are counted exactly. The number of published events is an estimate on a large table, so that
    the command stays fast. --wait compares pending, dead and age: 'pending=0', 'age<30s'.
    """
    session = Session.of(ctx)
    _one_of(watching=watching, check=check, wait=wait is not None, prometheus=prometheus)
    _needs(
        "--max-age or --max-failed", "--check", useless=not check and (max_age is not None or max_failed is not None)
    )
    _needs("--timeout", "--wait", useless=wait is None and timeout is not None)
    _needs("--interval", "--watch or --wait", useless=not watching and wait is None and interval is not None)
    _check_interval(interval)
    if watching:
        _for_many_looks(session, by)
    if not watching or draws(session):  # a watch that prints lines has no headline
        session.note_target()
    reach = _reach(session, since)
    look = _looker(session, reach, by)
    if watching or wait is not None:
        look = followed(look)
    pause = interval or _INTERVAL
    if watching and draws(session):
        watch_picture(session, _live_reader(session, reach, by), pause)
    if watching:
        watch(session, look, pause)
    if wait is not None:
        session.finish(wait_for(session, look, wait, pause, timeout or _TIMEOUT))
    report = look()
    if check:
        limits = HealthLimits(_MAX_AGE if max_age is None else max_age, max_failed or 0)
        session.finish(checked(report, session, limits))
    if prometheus:
        session.finish(with_human(result_of(report, session), [Raw(exposition(report))]))
    session.finish(result_of(report, session))


def _looker(session: Session, reach: Callable[[], timedelta], by: By | None) -> Callable[[], StatsReport]:
    engine, max_retries = session.services.engine, session.settings.max_retries
    return lambda: collect_stats(engine, max_retries=max_retries, since=reach(), by=by, explain=True)


def _live_reader(session: Session, reach: Callable[[], timedelta], by: By | None) -> Read:
    engine, most = session.services.engine, session.settings.max_retries
    return lambda after: collect_live(engine, max_retries=most, since=reach(), by=by or By.TYPE, created_after=after)


def _reach(session: Session, since: str | None) -> Callable[[], timedelta]:
    """Return a function that returns the window's current length.

    The window has either a fixed length or a fixed start.

    Raises:
        typer.BadParameter: the value is not an instant, or the instant is in the future.
    """
    if since is None:
        return lambda: WINDOW
    first, _ = window(session, since, None)
    if is_age(since):
        span = age(since)
        return lambda: span
    clock = database_clock_of(session)
    if first is None or clock() - first < _SHORTEST_WINDOW:
        message = f"{since!r} is not in the past"
        raise typer.BadParameter(message, param_hint="--since")
    return lambda: clock() - first


def _one_of(**modes: bool) -> None:
    chosen = [f"--{'watch' if name == 'watching' else name}" for name, given in modes.items() if given]
    if len(chosen) > 1:
        message = f"{' and '.join(chosen)} cannot be combined"
        raise typer.BadParameter(message)


def _needs(options: str, other: str, *, useless: bool) -> None:
    """Refuse options that would be ignored."""
    if useless:
        message = f"{options} needs {other}"
        raise typer.BadParameter(message)


def _check_interval(interval: timedelta | None) -> None:
    if interval is not None and interval < _SHORTEST_INTERVAL:
        message = "an interval shorter than 200ms would put too much load on the database"
        raise typer.BadParameter(message, param_hint="--interval")


def _for_many_looks(session: Session, by: By | None) -> None:
    if session.shared.output not in {OutputFormat.TABLE, OutputFormat.NDJSON}:
        message = f"-o {session.shared.output} writes a single document; with --watch use -o ndjson"
        raise typer.BadParameter(message, param_hint="--watch")
    if by is not None and (session.shared.output is OutputFormat.NDJSON or not is_terminal(sys.stdout)):
        message = "--by with --watch needs a terminal: other output has one line for each reading"
        raise typer.BadParameter(message, param_hint="--by")
