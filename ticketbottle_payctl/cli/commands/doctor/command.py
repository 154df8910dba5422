"""Implement ``payctl doctor``, which checks everything that payctl needs, and says how to fix each problem."""

from __future__ import annotations

from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.doctor import bundle as doctor_bundle
from ticketbottle_payctl.cli.commands.doctor.fix import fix
from ticketbottle_payctl.cli.commands.doctor.result import result_of, shown
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.output.progress import status
from ticketbottle_payctl.cli.output.result import dim
from ticketbottle_payctl.cli.safety.confirm import Approval
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import CHECKS, Subject, diagnose
from ticketbottle_payctl.jobs.order import MAY_NEED_A_PERSON, open_money
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.settings.protection import unprotected


def _complete(incomplete: str) -> list[str]:
    return [name for name in CHECKS if name.startswith(incomplete)]


Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="NAME", autocompletion=_complete,
        help=f"Run only this check; repeatable. One of: {', '.join(CHECKS)}.",
    ),
]  # fmt: skip
Bundle = Annotated[
    str | None,
    typer.Option("--bundle", metavar="FILE", help="Write findings and settings, without secrets, to a file."),
]
FixFlags = Annotated[
    bool, typer.Option("--fix-published-flags", help="Mark as published the events that the old service sent.")
]


def doctor_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    only: Only = None,
    bundle: Bundle = None,
    fix_published_flags: FixFlags = False,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="With --fix-published-flags, show what it would change.")
    ] = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Check everything that payctl needs, and say what to fix.

    The doctor checks the database and the role's privileges, the clocks, Kafka and its topics, the gateways' keys, and
    possible causes of a slow outbox. The doctor changes nothing unless you ask for a repair. Exit 5 if a check fails;
    warnings do not count.
    """
    session = Session.of(ctx)
    approval = Approval(yes, reason, max_affected, confirm)
    if fix_published_flags:
        _refuse("cannot be combined with --fix-published-flags", {"--only": only, "--bundle": bundle})
        fix(session, approval, dry_run=dry_run)
    only_repairs = {"--dry-run": dry_run, "--yes": yes, "--reason": reason, "--confirm": confirm}
    _refuse("needs a repair such as --fix-published-flags", {**only_repairs, "--max-affected": max_affected})
    unknown = [name for name in only or () if name not in CHECKS]
    if unknown:
        message = f"no such check: {', '.join(unknown)}; the checks are {', '.join(CHECKS)}"
        raise typer.BadParameter(message, param_hint="--only")
    if bundle is not None:
        doctor_bundle.refuse_existing(bundle)
    session.note_target(brokers=True)
    with status(quiet=session.shared.quiet) as say:
        report = diagnose(_subject(session), only or (), looking=lambda check: say(f"checking {check}"))
    findings = shown(report, session)
    if bundle is not None:
        doctor_bundle.write(bundle, session.profile, session.guard, report.counts, findings, session.services.now())
        session.note(dim("bundle"), bundle)
    session.finish(result_of(report, findings, bundle))


def _refuse(why: str, given: dict[str, object]) -> None:
    """Refuse options that would be ignored."""
    for name, value in given.items():
        if value:
            raise typer.BadParameter(why, param_hint=name)


def _subject(session: Session) -> Subject:
    services, database = session.services, _database(session)
    return Subject(
        engine=lambda: services.engine,
        kafka=lambda: session.settings.kafka,
        producer=lambda: services.producer,
        credentials=services.credentials,
        now=services.now,
        shards=session.settings.shards,
        max_retries=session.settings.max_retries,
        schema=database.schema if database else "public",
        unprotected=unprotected(database, session.settings.environ) if database else None,
        explained_by=MAY_NEED_A_PERSON,
        open_money=open_money,
    )


def _database(session: Session) -> DatabaseSettings | None:
    try:
        return session.settings.database
    except ConfigError:  # the database check reports this error
        return None
