"""Build the plan and the report of a replay, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ticketbottle_payctl.cli.commands.replay.facts import (
    LeftAloneItem,
    ReplayCounts,
    ReplayFacts,
    ResumeCounts,
    ResumeFacts,
)
from ticketbottle_payctl.cli.commands.replay.misnamed import meant_command, misnamed_blocks, misnamed_sentence
from ticketbottle_payctl.cli.commands.replay.outcomes import (
    WHY_STOPPED,
    next_commands,
    progress_words,
    publisher_words,
)
from ticketbottle_payctl.cli.commands.replay.plan_view import (
    WHY,
    left_out_blocks,
    plan_blocks,
    skipped_rows,
    superseded_warning,
    unknown_type_advice,
)
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import (
    Block,
    Fields,
    Line,
    Result,
    Table,
    accent,
    bad,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.cli.safety.advised import DRY_RUN, Adviser
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.replay import (
    LeftOut,
    LeftOutReason,
    ReplayOptions,
    ReplayOutcome,
    ReplayPlan,
    ReplayReport,
    Superseded,
)
from ticketbottle_payctl.store.payctl.runs import RunItem

SCHEMA = "payctl.replay/1"
_MOST_LISTED = 100
_ONLY_WITH_PUBLISHED = "published events are selected only with --published"
_NOT_THERE = {LeftOutReason.NOT_FOUND, LeftOutReason.NOT_SELECTED}


def result_of_plan(  # noqa: PLR0913 - most are passed by name
    plan: ReplayPlan,
    options: ReplayOptions,
    *,
    named: bool,
    adviser: Adviser,
    plan_file: Path | None = None,
    nothing: bool = False,
    unpublished: bool = False,
    typed: Sequence[str] = (),
) -> Result:
    """Return the result for a plan.

    ``nothing`` is True if this is not a dry run, but the plan has no events to requeue.

    ``unpublished`` is True if published events are allowed, but the selector does not select them.

    ``typed`` contains the arguments of the dry run. The same arguments without ``-n`` apply the plan.
    """
    code = _code_of_plan(plan, named=named)
    first = adviser.before_replay() if plan.events and not nothing else None
    human = plan_blocks(plan, options, first)
    if not plan.events and plan_file is None:
        human = [_nothing(plan, code, named=named, unpublished=unpublished), *left_out_blocks(plan)]
    there = [left.id for left in plan.left_out if left.reason not in _NOT_THERE and left.id not in plan.closed]
    if there:
        human.append(line(dim("see why:"), accent(adviser.reading(["show"], [there[0]]))))
    if plan_file is not None:
        apply = adviser.changing(["replay"], options=["--plan", str(plan_file)], rows=len(plan.events))
        human += [line(good("✔"), "plan written; nothing was changed. To apply it:"), line(f"  {apply}")]
    elif plan.events:
        command = adviser.again(typed, without=DRY_RUN, rows=len(plan.events))
        human.append(line(warn("dry run:"), f"nothing was changed{'. To apply it:' if command else ''}"))
        human += [line(f"  {command}")] if command else []
    human += misnamed_blocks(plan.misnamed, adviser, said=not plan.events)
    return Result(
        SCHEMA,
        code,
        counts=_counts(plan, requeued=0, skipped=len(plan.left_out), failed=0),
        result=_forecast(plan, options, plan_file, meant_command(plan.misnamed, adviser)),
        items=[_left_out(left) for left in plan.left_out[:_MOST_LISTED]],
        truncated=len(plan.left_out) > _MOST_LISTED,
        human=human,
        warnings=[*_warnings(plan.open_left_out, plan.superseded, adviser), *_before(first, adviser)],
        dry_run=not nothing,
    )


def result_of_pending(plan: ReplayPlan, options: ReplayOptions, adviser: Adviser, *, dry_run: bool) -> Result:
    """Return the result if all events that were given by id are already pending. A replay would not change them."""
    result = result_of_plan(plan, options, named=True, adviser=adviser, nothing=True)
    whose = f"{count(len(plan.events), 'event')} {'is' if len(plan.events) == 1 else 'are'} already pending"
    why = ("why an event waits", adviser.reading(["show"], [plan.events[0].row.id]))
    first, fields = (
        headline(good("✔"), f"nothing to do: {whose}"),
        Fields((*adviser.publishing().rows("if no publisher runs"), why)),
    )
    return replace(result, human=[first, fields], dry_run=dry_run)


def result_of(  # noqa: PLR0913 - most are passed by name
    report: ReplayReport,
    *,
    plan: ReplayPlan | None,
    named: bool,
    adviser: Adviser,
    superseded: Sequence[Superseded] = (),
    schema: str = SCHEMA,
) -> Result:
    """Return the result of a run. ``plan`` is None for a resumed run.

    ``superseded`` lists the included superseded events.
    """
    code = exit_codes.of_outcome(report.outcome)
    if code is ExitCode.DONE and (_went_wrong(report) or (plan and _code_of_plan(plan, named=named))):
        code = ExitCode.PARTIAL
    known = {left.id: left for left in plan.left_out} if plan else {}
    items = [_left_alone(item, known.get(item.item_id)) for item in report.left_alone]
    facts: ResumeFacts = {
        "outcome": report.outcome,
        "plan_file": None,
        "remaining": report.remaining,
        "published": report.progress.published,
        "dead_again": report.progress.dead,
        "seconds": round(report.seconds, 3),
        "publisher_running": report.publishing.running if report.publishing else None,
        "superseded": len(superseded),
        "superseded_ids": [each.id for each in superseded],
    }
    if plan is None:
        facts["requeued_now"] = report.requeued_now
    return Result(
        schema,
        code,
        counts=_counts_of_run(plan, report) if plan else _counts_of_resumed(report),
        result=facts,
        items=items,
        truncated=len(items) < report.skipped + report.failed - report.progress.dead,
        human=[*_human(report, code, adviser), *(misnamed_blocks(plan.misnamed, adviser, said=False) if plan else ())],
        warnings=_warnings(plan.open_left_out if plan else (), superseded, adviser),
        run_id=report.run_id,
    )


def signalled(result: Result, report: ReplayReport, code: ExitCode | None) -> Result:
    """Return the result. If a signal ended the run, the result has the signal's exit code."""
    return replace(result, exit_code=code) if code and report.outcome is ReplayOutcome.SIGNAL else result


def _human(report: ReplayReport, code: ExitCode, adviser: Adviser) -> list[Block]:
    mark = good("✔") if code is ExitCode.DONE else warn("!")
    now, done = report.progress, report.outcome is ReplayOutcome.DONE
    seconds, now_requeued = f"in {duration(report.seconds)}", count(report.requeued_now, "event")
    in_all = f" by this resume, {report.requeued:,} in all" if report.earlier else ""
    left_alone = any(outcome != "requeued" for outcome, _ in report.outcomes)
    of_all = f"of {report.requeued:,}: " if report.earlier else ""
    blocks: list[Block] = [
        headline(mark, bold(f"{now_requeued} requeued{in_all}"), dim(seconds))
        if done
        else line(mark, warn(f"stopped: {WHY_STOPPED[report.outcome]}")),
        Fields(
            (
                ("run", report.run_id),
                ("requeued", None if done else f"{now_requeued}{in_all}, {seconds}"),
                ("publisher", publisher_words(report.outcome, now, report.publishing)),
                ("since then", f"{of_all}{progress_words(now)}"),
                *skipped_rows(report.outcomes, "skipped"),
                *skipped_rows(report.outcomes, "failed"),
                ("see why", adviser.reading(["runs", "show"], [report.run_id]) if left_alone else None),
                ("not reached", f"{report.remaining:,}" if report.remaining else None),
                *next_commands(
                    report.outcome,
                    report.run_id,
                    adviser,
                    remaining=report.remaining,
                    progress=now,
                    publishing=report.publishing,
                ),
            )
        ),
    ]
    late = [item for item in report.left_alone if item.chunk >= 0]
    if late:  # the plan has already listed the others
        rows = tuple((item.item_id, WHY.get(item.reason or "", item.reason)) for item in late)
        blocks.append(Table(("skipped", "why"), rows))
    return blocks


def _nothing(plan: ReplayPlan, code: ExitCode, *, named: bool, unpublished: bool) -> Line:
    """Return the first line for a replay without events. Its mark matches the exit code."""
    if code is ExitCode.DONE:
        which = f"no unpublished event matches; {_ONLY_WITH_PUBLISHED}" if unpublished else "no event matches"
        return headline(good("✔"), f"nothing to replay: {which}")
    if plan.misnamed.order_codes or plan.misnamed.payments:
        return headline(bad("✘"), "nothing to replay:", misnamed_sentence(plan.misnamed))
    if plan.misnamed.unknown_orders:
        return headline(bad("✘"), "nothing to replay: no payment has the order code", plan.misnamed.unknown_orders[0])
    left_out = f"every {'named' if named else 'matching'} event is left out"
    why = "no event has this id" if code is ExitCode.NOT_FOUND else left_out
    return headline(bad("✘"), f"nothing to replay: {why}")


def _left_out(left: LeftOut) -> LeftAloneItem:
    return {
        "id": left.id,
        "outcome": "skipped",
        "reason": left.reason,
        "event_type": left.event_type,
        "aggregate_id": left.aggregate_id,
    }


def _left_alone(item: RunItem, left: LeftOut | None) -> LeftAloneItem:
    return {
        "id": item.item_id,
        "outcome": item.outcome,
        "reason": item.reason,
        "event_type": left.event_type if left else None,
        "aggregate_id": left.aggregate_id if left else None,
    }


def _counts_of_run(plan: ReplayPlan, report: ReplayReport) -> ReplayCounts:
    return _counts(plan, requeued=report.requeued, skipped=report.skipped, failed=report.failed)


def _counts_of_resumed(report: ReplayReport) -> ResumeCounts:
    return {
        "requeued": report.requeued,
        "skipped": report.skipped,
        "failed": report.failed,
        "remaining": report.remaining,
    }


def _counts(plan: ReplayPlan, *, requeued: int, skipped: int, failed: int) -> ReplayCounts:
    return {
        "matched": plan.matched,
        "requeued": requeued,
        "skipped": skipped,
        "failed": failed,
        "already_published": plan.by_state["published"],
    }


def _forecast(plan: ReplayPlan, options: ReplayOptions, plan_file: Path | None, meant: str | None) -> ReplayFacts:
    return {
        "outcome": None,
        "plan_file": str(plan_file) if plan_file else None,
        "planned": len(plan.events),
        "by_type": dict(plan.by_type),
        "by_state": dict(plan.by_state),
        "keys_with_newer": plan.keys_with_newer,
        "oldest": plan.oldest,
        "newest": plan.newest,
        "estimated_seconds": round(plan.seconds(options.rate), 3),
        "superseded": len(plan.superseded),
        "superseded_ids": [each.id for each in plan.superseded],
        "meant": meant,
    }


def _code_of_plan(plan: ReplayPlan, *, named: bool) -> ExitCode:
    """Return the exit code of a plan.

    If all events are left out, the exit code is GUARD, or NOT_FOUND if none of them exists. If only some are left out,
    they count as failures only if ids were given.
    """
    if plan.misnamed.unknown_orders:
        return ExitCode.PARTIAL if plan.events else ExitCode.NOT_FOUND
    if not plan.left_out:
        return ExitCode.DONE
    if plan.events:
        return ExitCode.PARTIAL if named else ExitCode.DONE
    missing = all(left.reason in _NOT_THERE for left in plan.left_out)
    return ExitCode.NOT_FOUND if missing else ExitCode.GUARD


def _went_wrong(report: ReplayReport) -> bool:
    late = {"changed", "gone", "locked"}
    return bool(report.failed) or any(reason in late for _, reason in report.outcomes)


def _before(first: str | None, adviser: Adviser) -> Iterator[str]:
    if first and adviser.session.shared.output is not OutputFormat.TABLE:  # the plan shows it
        yield f"before the replay, {first}"


def _warnings(left_out: Sequence[LeftOut], included: Sequence[Superseded], adviser: Adviser) -> list[str]:
    harm = [superseded_warning(included)] if included else []
    if adviser.session.shared.output is OutputFormat.TABLE:  # the table shows the reasons
        return harm
    advice = unknown_type_advice(left_out)
    harm += [advice] if advice else []
    superseded = sum(left.reason is LeftOutReason.SUPERSEDED for left in left_out)
    if not superseded:
        return harm
    whose, them = ("its payment is", "it") if superseded == 1 else ("their payments are", "them")
    release = adviser.publishing(["--on-dead", "release"])
    what = (
        f"{count(superseded, 'superseded event')} left out: {whose} COMPLETED now, and a paying customer would lose "
        f"their tickets if payctl sent {them}. If a dead event blocks the payment's success event, "
    )
    if release.before is None:
        return [*harm, f"{what}run `{release.command}`"]
    send = "only --on-dead release sends the success event. Before the release, "
    return [*harm, f"{what}{send}{release.before}: `{release.command}`"]
