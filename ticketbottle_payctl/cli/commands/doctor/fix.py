"""Implement ``payctl doctor --fix-published-flags``, which sets missing published flags."""

from __future__ import annotations

from typing import NoReturn

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.doctor.result import SCHEMA, DoctorCounts
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bold, dim, good, headline, line, warn
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve
from ticketbottle_payctl.cli.safety.recorded import new_run
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.fix_published_flags import FlagsReport, fix_published_flags, preview_published_flags


def fix(session: Session, approval: Approval, *, dry_run: bool) -> NoReturn:
    """Print the plan, ask for confirmation, and repair the rows.

    Raises:
        GuardError: the operator did not confirm, or the profile does not allow changes.
    """
    session.note_target()
    engine = session.services.engine
    before = preview_published_flags(engine)
    if dry_run:
        session.finish(_result(before, dry_run=True))
    approve(session, Act("repair", before.matched, "event", _plan(before)), approval)
    with stop_on_signals() as stop, bar("repairing", before.matched, quiet=session.shared.quiet) as done:
        run = new_run(session, "doctor --fix-published-flags", approval.reason)
        report = fix_published_flags(engine, before, run, stopping=stop.event.is_set, done=done)
    session.finish(_result(report, signalled=stop.exit_code))


def _plan(report: FlagsReport) -> list[Block]:
    return [
        line(bold(count(report.matched, "event")), 'with "publishedAt" but published = false: they were sent'),
        Fields(
            (
                ("created between", report.oldest),
                ("and", report.newest),
                ("would become", "published = true; nothing else changes and nothing is sent"),
            )
        ),
    ]


def _result(report: FlagsReport, *, dry_run: bool = False, signalled: ExitCode | None = None) -> Result:
    left = report.matched - report.repaired
    code = signalled or (ExitCode.DONE if dry_run or left <= 0 else ExitCode.PARTIAL)
    human: list[Block] = _plan(report) if dry_run else [_headline(report, code)]
    if dry_run:
        human.append(line(warn("dry run:"), "nothing was changed"))
    elif left > 0:
        human.append(
            line(warn(f"{left:,} left:"), "locked by another session, or the repair was stopped; run it again")
        )
    counts: DoctorCounts = {"matched": report.matched, "repaired": report.repaired}
    return Result(
        SCHEMA,
        code,
        counts=counts,
        human=human,
        dry_run=dry_run,
        run_id=report.run_id,
    )


def _headline(report: FlagsReport, code: ExitCode) -> Block:
    mark = good("✔") if code is ExitCode.DONE else warn("!")
    if not report.matched:
        return headline(mark, "no half-marked events", dim("nothing to do"))
    run = dim(f"run {report.run_id}")
    return headline(mark, bold(f"repaired {report.repaired:,}"), dim(f"of {count(report.matched, 'event')}"), run)
