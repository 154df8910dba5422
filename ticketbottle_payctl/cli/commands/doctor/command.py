"""``payctl doctor``: proves rather than pings, and says what mends what it finds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.doctor import bundle as doctor_bundle
from ticketbottle_payctl.cli.commands.doctor.fix import fix
from ticketbottle_payctl.cli.commands.doctor.result import result_of
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.output.result import dim
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.cli.safety.confirm import Approval
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import CHECKS, Subject, diagnose


def _complete(incomplete: str) -> list[str]:
    return [name for name in CHECKS if name.startswith(incomplete)]


Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="NAME", autocompletion=_complete,
        help=f"Look only at this; may be given again. One of: {', '.join(CHECKS)}.",
    ),
]  # fmt: skip
Bundle = Annotated[
    str | None,
    typer.Option("--bundle", metavar="FILE", help="Write what was found and the settings, without secrets, to a file."),
]
FixFlags = Annotated[
    bool, typer.Option("--fix-published-flags", help="Mark as published what the replaced service sent.")
]


def doctor_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    only: Only = None,
    bundle: Bundle = None,
    fix_published_flags: FixFlags = False,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="With a repair: show what it would change.")] = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Prove that everything payctl needs is there, and say what mends it.

    Looks at the database and the role's rights in it, the clocks, Kafka and its topics, and the gateways' keys, and at
    what makes an outbox slow. Changes nothing unless a repair is asked for. Exit 5 if something fails; a warning is no
    failure.
    """
    session = Session.of(ctx)
    approval = Approval(yes, reason, max_affected, confirm)
    if fix_published_flags:
        _refuse("does not go with --fix-published-flags", {"--only": only, "--bundle": bundle})
        fix(session, approval, dry_run=dry_run)
    only_repairs = {"--dry-run": dry_run, "--yes": yes, "--reason": reason, "--confirm": confirm}
    _refuse("goes with a repair, as --fix-published-flags", {**only_repairs, "--max-affected": max_affected})
    unknown = [name for name in only or () if name not in CHECKS]
    if unknown:
        message = f"no such check: {', '.join(unknown)}; there are {', '.join(CHECKS)}"
        raise typer.BadParameter(message, param_hint="--only")
    if bundle is not None:
        doctor_bundle.refuse_existing(bundle)
    with _spoken(session) as say:
        report = diagnose(_subject(session), only or (), looking=say)
    if bundle is not None:
        doctor_bundle.write(bundle, session.profile, session.guard, report, session.services.now())
        session.note(dim("bundle"), bundle)
    session.finish(result_of(report, bundle))


def _refuse(why: str, given: dict[str, object]) -> None:
    """An option that would be ignored is refused."""
    for name, value in given.items():
        if value:
            raise typer.BadParameter(why, param_hint=name)


def _subject(session: Session) -> Subject:
    services = session.services
    return Subject(
        engine=lambda: services.engine,
        kafka=lambda: session.settings.kafka,
        producer=lambda: services.producer,
        credentials=services.credentials,
        now=services.now,
        shards=session.settings.shards,
        schema=_schema(session),
    )


def _schema(session: Session) -> str:
    try:
        return session.settings.database.schema
    except ConfigError:  # said by the check itself
        return "public"


@contextmanager
def _spoken(session: Session) -> Iterator[Callable[[str], None]]:
    """What is being looked at, in one line of a terminal's stderr that goes away; elsewhere nothing."""
    if session.shared.quiet or not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - rich, only where it draws

    with Console(stderr=True).status("") as status:
        yield lambda name: status.update(f"looking at {name} ...")
