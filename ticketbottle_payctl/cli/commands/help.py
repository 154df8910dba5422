"""Implement ``payctl help``, which shows a command's help or a page on a shared topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NoReturn, TypedDict

import typer

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.help_page import page_of
from ticketbottle_payctl.cli.app.parser import TOPICS, help_of, shared_options
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input.times import instant, zone_of
from ticketbottle_payctl.cli.output import exit_codes, marks
from ticketbottle_payctl.cli.output.result import Raw, Result
from ticketbottle_payctl.formats import local_and_utc

INSTANTS = (
    *("2h", "90m", "3d", "2h ago", "now", "today", "yesterday", "09:00"),
    *("2026-11-22", "2026-11-22T10:00", "2026-11-22T03:00:00Z"),
)
"""An example of each way to write an instant."""


class HelpFacts(TypedDict):
    """A page of help."""

    topic: str
    """The topic or the command that the page explains."""
    text: str
    """The page's text."""


class HelpItem(TypedDict):
    """A row of a help page, which explains an option, an exit code or a time."""

    name: str
    meaning: str


def _complete(incomplete: str) -> list[str]:
    return [word for word in (*TOPICS, *registry.children(())) if word.startswith(incomplete)]


def help_command(
    ctx: typer.Context,
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC|COMMAND...]", autocompletion=_complete, help=f"{', '.join(TOPICS)}, or a command."
        ),
    ] = None,
) -> None:
    """Show help for a command, or a page on a topic.

    The topics are options (accepted by every command), exit-codes and times (how to write a time).
    """
    session = Session.of(ctx)
    words = tuple(topic or ())
    rows: list[tuple[str, str]] = []
    if len(words) == 1 and words[0] in TOPICS:
        title, about, rows = _page(ctx, session, words[0])
        text = page_of(title, about, rows)
        if words[0] == "exit-codes":
            text += "\n" + page_of("Marks", marks.ABOUT, marks.rows())
            rows = [*rows, *marks.rows()]
    else:
        text = help_of(ctx, words) or _refuse(ctx, words)
    items: Sequence[HelpItem] = [{"name": name, "meaning": " ".join(meaning.split())} for name, meaning in rows]
    facts: HelpFacts = {"topic": " ".join(words), "text": text.rstrip("\n")}
    session.finish(Result("payctl.help/1", result=facts, items=items, human=[Raw(text)]))


def _page(ctx: typer.Context, session: Session, topic: str) -> tuple[str, str, list[tuple[str, str]]]:
    match topic:
        case "options":
            about = (
                "Every command accepts these options, before or after its name."
                " If an option is given twice, the later one applies."
            )
            return "Options of every command", about, shared_options(ctx)
        case "exit-codes":
            about = "Exit code 5 is an answer, not an error. Scripts can rely on these codes."
            return "Exit codes", about, exit_codes.rows()
        case _:
            return "Times", *_times(session)


def _times(session: Session) -> tuple[str, list[tuple[str, str]]]:
    """Return the help text about times: an introduction, and examples with the times that they mean now.

    The times are in this run's time zone.
    """
    zone, now = zone_of(session), session.services.now()
    about = (
        f"payctl reads days and clock times in one time zone, currently {zone}. This is the zone from --tz, or else the"
        " profile's tz, or else the machine's zone. A duration such as 2h, 30s, 90m or 3d means that long ago. payctl"
        " refuses text with two possible meanings, such as 03/04/2026 or 10. It prints the resulting times on stderr."
    )
    return about, [(text, local_and_utc(instant(text, zone, now), zone)) for text in INSTANTS]


def _refuse(ctx: typer.Context, words: tuple[str, ...]) -> NoReturn:
    topics = registry.alike(words[0], list(TOPICS))
    near = topics if len(words) == 1 and topics else registry.near(words[:-1], words[-1])
    ctx.fail(f"no such topic or command: {' '.join(words)}{registry.did_you_mean(near)}")
