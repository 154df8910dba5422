"""Implement ``payctl report``, which reports on a time window, for example at a hand-over or after an incident.

The report is text on a terminal and Markdown elsewhere. On request, it is an HTML file.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.report import page
from ticketbottle_payctl.cli.commands.report.document import Place, Section, markdown, sections
from ticketbottle_payctl.cli.commands.report.facts import facts_of, item_of
from ticketbottle_payctl.cli.commands.report.figures import Commands, figures
from ticketbottle_payctl.cli.commands.report.plots import plots
from ticketbottle_payctl.cli.commands.report.sentence import gap_sentence, verdict
from ticketbottle_payctl.cli.commands.report.view import first_line, view
from ticketbottle_payctl.cli.input.times import database_clock_of, instant, note_window, zone_of
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.private_file import check_free, write_private
from ticketbottle_payctl.cli.output.progress import status
from ticketbottle_payctl.cli.output.result import Block, Fields, Raw, Result
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.jobs.order import MAY_NEED_A_PERSON, open_money
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.report.model import Report

_WINDOW = timedelta(hours=12)
_SHORTEST = timedelta(seconds=1)

Since = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN", help="The window's start, such as 12h (12 hours ago), yesterday or 09:00 [default: 12h]."
    ),
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="The window's end [default: now].")]
Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Write the report with plots to a file, instead of to stdout."),
]
Force = Annotated[bool, typer.Option("--force", help="With --html, replace an existing file.")]


def report_command(
    ctx: typer.Context, *, since: Since = None, until: Until = None, html: Html = None, force: Force = False
) -> None:
    """Report on a time window, for a hand-over or an incident.

    The report first says which customers have paid and have no ticket, how many events are waiting, and for how long.
    It also contains a timeline, the figures, and the commands that operators ran. In a pipe or a file, the report is
    Markdown, and each figure is followed by the command that prints it. --html writes one HTML file with plots instead.
    Ids are short. The report contains no customer names, account numbers or secrets. The exit code is 6 if part of the
    report took too long and was left out.
    """
    session = Session.of(ctx)
    if force and html is None:
        message = "--force needs --html"
        raise typer.BadParameter(message)
    target = None if html is None else Path(html)
    if target is not None:
        page.require_libraries()
        check_free(target, force=force)
    session.note_target()  # reading the database's clock can fail
    first, last = _window(session, since, until)
    on_screen = session.shared.output is OutputFormat.TABLE and is_terminal(sys.stdout)
    if not on_screen:
        note_window(session, first, last)
    with status(quiet=session.shared.quiet) as say:
        report = collect_report(
            session.services.engine,
            first,
            last,
            max_retries=session.settings.max_retries,
            retention=session.settings.retention,
            open_money=open_money,
            explained_by=MAY_NEED_A_PERSON,
            looking=lambda section: say(f"reading {section.replace('_', ' ')}"),
        )
    commands = Commands(Adviser(session, "report"), report)
    found = figures(report, commands)
    place = _place(session, report)
    blocks: list[Block]
    warnings = [gap_sentence(gap) for gap in report.gaps]
    if html is not None and target is not None:
        _write(target, report, sections(report, found, commands, place), place, force=force)
        blocks = [first_line(report), Fields((("written", html),))]
    elif on_screen:
        blocks, warnings = view(report, found, commands, place, _typed(since, until)), []
    else:
        blocks = [Raw(markdown(sections(report, found, commands, place)))]
    session.finish(
        Result(
            "payctl.report/1",
            ExitCode.PARTIAL if any(gap.is_failure for gap in report.gaps) else ExitCode.DONE,
            result=facts_of(report, commands, html),
            items=[item_of(figure) for figure in found],
            human=blocks,
            warnings=warnings,
        )
    )


def _window(session: Session, since: str | None, until: str | None) -> tuple[datetime, datetime]:
    """Return the window in whole milliseconds, so that the suggested commands use exactly the same window.

    Raises:
        typer.BadParameter: an instant cannot be read, or the window is empty or in the future.
    """
    zone = zone_of(session)
    for option, text in (("--since", since), ("--until", until)):
        if text:  # detect a wrong option before querying the database
            instant(text, zone, session.services.now(), option=option)
    now = database_clock_of(session)()
    last = min(now, instant(until, zone, now, option="--until")) if until else now
    first = instant(since, zone, now, option="--since") if since else last - _WINDOW
    first, last = (at.replace(microsecond=at.microsecond // 1000 * 1000) for at in (first, last))
    if last - first < _SHORTEST:
        message = "the window must be at least a second long and must not be in the future"
        raise typer.BadParameter(message, param_hint="--since")
    return first, last


def _typed(since: str | None, until: str | None) -> list[str]:
    """Return the window's options as the user typed them."""
    given = (("--since", since), ("--until", until))
    return [word for option, value in given if value is not None for word in (option, value)]


def _place(session: Session, report: Report) -> Place:
    zone = zone_of(session)
    offset = report.parts.until.astimezone(zone).strftime("%z")
    name = f"{zone} (UTC{offset[:3]}:{offset[3:5]})"
    return Place(zone, name, str(session.settings.database.place), session.profile.name)


def _write(target: Path, report: Report, document: list[Section], place: Place, *, force: bool) -> None:
    drawn = plots(report, place.zone, place.zone_name)
    write_private(target, page.page(verdict(report), document, drawn), force=force)
