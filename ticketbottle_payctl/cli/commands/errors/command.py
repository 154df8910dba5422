"""Group the errors of unpublished events, and show how to replay each group."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.errors.facts import ErrorCounts, item_of
from ticketbottle_payctl.cli.commands.errors.result import text_of
from ticketbottle_payctl.cli.input import selector_options
from ticketbottle_payctl.cli.input.selector import selector_of
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Result
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.cli.safety.advised import Adviser, PublishAdvice
from ticketbottle_payctl.jobs.error_groups import ErrorsReport, group_errors

_DEFAULT_LIMIT = 50

_NOT_COUNTED = (
    "the events that are waiting without an error were not counted, because the database took too long;"
    " run the command again"
)


def errors_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    failed: selector_options.Failed = False,
    types: selector_options.Types = None,
    provider: selector_options.Provider = None,
    since: selector_options.Since = None,
    until: selector_options.Until = None,
    error: selector_options.ErrorPattern = None,
    limit: selector_options.Limit = None,
) -> None:
    """Show the last errors of unpublished events, grouped.

    Errors that differ only in ids, numbers or addresses form one group. The command counts unpublished events that
    failed at least once; with --failed, only dead events. Without selectors, it also counts the events that are waiting
    without an error, for example while the brokers are unavailable. Exit 6 if the database took too long to count them.
    """
    session = Session.of(ctx)
    selector = selector_of(
        session, failed=failed, types=types, provider=provider, since=since, until=until, error=error
    )
    session.note_target()
    report = group_errors(
        session.services.engine, selector, max_retries=session.settings.max_retries, limit=limit or _DEFAULT_LIMIT
    )
    adviser = Adviser(session, "errors")
    release = adviser.publishing(["--on-dead", "release"]) if any(each.blocking for each in report.groups) else None
    now = session.services.now() if is_terminal(sys.stdout) else None
    counts: ErrorCounts = {"groups": len(report.groups), "events": report.events, "closed": report.closed}
    if report.waiting is not None:
        counts["waiting"] = report.waiting.events
    session.finish(
        Result(
            "payctl.errors/1",
            ExitCode.PARTIAL if report.timed_out else ExitCode.DONE,
            counts=counts,
            items=[item_of(group, selector, adviser, release.command if release else "") for group in report.groups],
            truncated=report.truncated,
            human=text_of(report, selector, adviser, release, now),
            warnings=[*_before(report, release, adviser), *([_NOT_COUNTED] if report.timed_out else ())],
        )
    )


def _before(report: ErrorsReport, release: PublishAdvice | None, adviser: Adviser) -> Iterator[str]:
    """Yield a warning if a pending failure event would take a paid order's tickets after the advised commands."""
    if release is not None and release.before is not None:
        yield f"before you release the events behind a dead event, {release.before}: `{release.command}`"
    elif release is None and any(each.dead and each.replayable for each in report.groups):
        first = adviser.before_replay()
        yield from [f"before a replay, {first}"] if first else []
