"""Build the result of comparing the outbox with Kafka, and the plan that repairs lost events."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Block, Line, Result, Table, bad, bold, dim, good, headline, line, warn
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.reconcile.compare_outbox import Difference, Disagreement, NotJudged, OutboxComparison
from ticketbottle_payctl.jobs.reconcile.coverage import Unjudged
from ticketbottle_payctl.jobs.replay import LeftOutReason, ReplayPlan

SCHEMA = "payctl.reconcile-outbox/1"
_SHOWN = 10
_WHY = {
    Unjudged.UNKNOWN_TYPE: "the event's type has no topic",
    Unjudged.TOPIC_MISSING: "the topic does not exist",
    Unjudged.TOPIC_EMPTY: "the topic is empty: was it created again, or is this another cluster?",
    Unjudged.TOO_OLD: "sent before the oldest record that the topic still has",
    Unjudged.RECORD_LIMIT: "these brokers cannot look up records by time, and there are more records than payctl reads",
    Unjudged.UNREADABLE: "a partition has no leader or cannot be read",
    Unjudged.DEADLINE: "the partition was not read in time: set a longer --deadline",
    Unjudged.OPEN_TRANSACTION: "a transaction that is still open hides the partition's last records from consumers",
    Unjudged.GAPS: "the partition has offsets without a record: compaction or transactions",
}


class ComparedCounts(TypedDict):
    """The number of compared events, and the number of events with each kind of difference."""

    compared: Count
    """The number of published events that were created in the window."""
    lost: Count
    """The number of events that are missing from their topic."""
    wrong: Count
    """The number of events with a wrong value, key or topic."""
    double: Count
    """The number of events that were sent more than once, not counting replays."""
    out_of_order: Count
    """The number of events that were sent before an earlier event of the same payment."""
    unjudged: Count
    """The number of missing events that payctl cannot judge: they may or may not be lost."""
    other: Count
    """The number of Kafka records whose events are outside the window."""


class ComparedFacts(TypedDict):
    """The result of the comparison."""

    complete: bool
    """Whether the topics were read to the end."""
    not_judged: Mapping[str, Count]
    """The number of events that were not judged, by reason."""
    repairable: Count
    """The number of lost or wrong events that a replay can repair, because they are not in the right topic."""
    repair_file: str | None
    """The file with the plan for the replay; null without --repair-out."""
    repair: str | None
    """The command that applies the plan; null without --repair-out."""


class DifferenceItem(TypedDict):
    """An event with a difference. With --all, also an event that was not judged."""

    event_id: str
    """The event's id."""
    aggregate_id: str
    """The payment's id."""
    event_type: str
    """The event type in the row."""
    difference: Difference | Literal["not_judged"]
    detail: str
    """What differs and where the records are, or why the event was not judged."""
    copies: Count
    """How many records of the event are in Kafka."""
    repairable: bool
    """Whether a replay can repair the difference."""
    created_at: datetime
    """When the event was created (UTC)."""
    published_at: datetime
    """When the event was published (UTC)."""


class Repair(NamedTuple):
    """The plan that sends the lost events again, its file, and the command to run next.

    If the plan was written to a file, the command applies the plan. Otherwise the command writes it. If a read-only
    profile forbids the replay, ``read_only`` is the profile's name, and ``file`` and ``command`` are None.
    """

    plan: ReplayPlan
    file: Path | None
    command: str | None
    read_only: str | None = None


def to_repair(report: OutboxComparison) -> list[str]:
    """Return the distinct ids of the events that a replay can repair."""
    return list(dict.fromkeys(each.event.id for each in report.disagreements if each.repairable))


def unchanged(plan: ReplayPlan, report: OutboxComparison) -> ReplayPlan:
    """Return the plan without the events whose rows have changed since the comparison.

    For example, another operator may have replayed such an event.
    """
    compared = {each.event.id: each.event.version for each in report.disagreements}
    events = tuple(event for event in plan.events if event.row.version == compared.get(event.row.id))
    return replace(plan, events=events)


def refuse_existing(path: Path) -> None:
    """Raise an error if a file, a directory or a link exists at ``path``.

    Raises:
        InputError: ``path`` exists.
    """
    if os.path.lexists(path):
        message = f"{path} already exists"
        raise InputError(message, hint="name a new file: payctl never overwrites an existing one")


def result_of(report: OutboxComparison, repair: Repair, *, everything: bool) -> Result:
    """Return the result of the comparison.

    The exit code is 5 if events are lost, wrong or out of order. Otherwise it is 10 if the time limit was reached, or 6
    if events were not judged. Duplicates do not change the exit code.
    """
    found = Counter(each.difference for each in report.disagreements)
    why = Counter(each.reason for each in report.not_judged)
    facts: ComparedFacts = {
        "complete": report.complete,
        "not_judged": {reason.value: number for reason, number in sorted(why.items())},
        "repairable": len(repair.plan.events),
        "repair_file": str(repair.file) if repair.file else None,
        "repair": repair.command if repair.file else None,
    }
    counts: ComparedCounts = {
        "compared": report.compared,
        "lost": found[Difference.LOST],
        "wrong": found[Difference.WRONG],
        "double": found[Difference.DOUBLE],
        "out_of_order": found[Difference.OUT_OF_ORDER],
        "unjudged": len(report.not_judged),
        "other": report.other,
    }
    code = _code(report, found)
    planned = {event.row.id for event in repair.plan.events}
    items = [_item(each, repairable=each.repairable and each.event.id in planned) for each in report.disagreements]
    if everything:
        items += [_item_not_judged(each) for each in report.not_judged]
    blocks: list[Block] = _table(items, everything=everything)
    blocks += [
        line(warn("not judged:"), count(number, "event"), _WHY[reason]) for reason, number in sorted(why.items())
    ]
    if why and not everything:
        blocks.append(line(dim("--all lists them")))
    blocks += _advice(repair)
    blocks.append(_verdict(code, report, found))
    return Result(SCHEMA, code, result=facts, counts=counts, items=items, human=blocks)


def _code(report: OutboxComparison, found: Mapping[Difference, int]) -> ExitCode:
    if any(found[each] for each in Difference if each is not Difference.DOUBLE):
        return ExitCode.NO
    if not report.complete:
        return ExitCode.DEADLINE
    return ExitCode.PARTIAL if report.not_judged else ExitCode.DONE


def _item(each: Disagreement, *, repairable: bool) -> DifferenceItem:
    return {
        "event_id": each.event.id,
        "aggregate_id": each.event.key,
        "event_type": each.event.event_type,
        "difference": each.difference,
        "detail": each.detail,
        "copies": each.copies,
        "repairable": repairable,
        "created_at": each.event.created_at,
        "published_at": each.event.published_at,
    }


def _item_not_judged(each: NotJudged) -> DifferenceItem:
    return {
        "event_id": each.event.id,
        "aggregate_id": each.event.key,
        "event_type": each.event.event_type,
        "difference": "not_judged",
        "detail": _WHY[each.reason],
        "copies": 0,
        "repairable": False,
        "created_at": each.event.created_at,
        "published_at": each.event.published_at,
    }


def _table(items: Sequence[DifferenceItem], *, everything: bool) -> list[Block]:
    if not items:
        return []
    if everything:
        rows = tuple(
            (each["difference"], each["event_id"], each["detail"], each["event_type"], each["aggregate_id"])
            for each in items
        )
        return [Table(("difference", "event", "detail", "type", "payment"), rows, spare=("type", "payment"))]
    short = tuple((each["difference"], each["event_id"], each["detail"]) for each in items[:_SHOWN])
    blocks: list[Block] = [Table(("difference", "event", "detail"), short)]
    if len(items) > _SHOWN:
        blocks.append(line(dim(f"and {len(items) - _SHOWN:,} more; --all shows them")))
    return blocks


def _advice(repair: Repair) -> list[Block]:
    blocks: list[Block] = []
    superseded = sum(left.reason is LeftOutReason.SUPERSEDED for left in repair.plan.left_out)
    if superseded:
        why = "the payment is COMPLETED now: if the event were sent again, the customer would lose their tickets"
        blocks.append(line(warn("do not send again:"), count(superseded, "superseded event"), dim(why)))
    if repair.read_only is not None:
        blocks.append(
            line(warn("repair:"), f"profile {repair.read_only} is read-only; use a profile that allows changes")
        )
    elif repair.plan.events and repair.command:
        events = count(len(repair.plan.events), "lost event")
        what = f"send {events} again with" if repair.file else f"write a plan that sends {events} again with"
        blocks += [line(warn("repair:"), what), line(repair.command)]
    return blocks


def _verdict(code: ExitCode, report: OutboxComparison, found: Mapping[Difference, int]) -> Line:
    double = f"{found[Difference.DOUBLE]:,} sent more than once" if found[Difference.DOUBLE] else None
    unjudged = f"{len(report.not_judged):,} not judged" if report.not_judged else None
    compared = count(report.compared, "event")
    if code is ExitCode.DONE:
        return headline(good("✔"), bold(compared), "in Kafka as expected", dim(double) if double else None)
    if code is ExitCode.NO:
        worse = (each for each in Difference if each is not Difference.DOUBLE and found[each])
        words = [f"{found[each]:,} {each.value.replace('_', ' ')}" for each in worse]
        return headline(bad("✘"), bold(f"{compared} compared:"), *words, double, unjudged)
    late = "payctl did not finish reading Kafka in time" if code is ExitCode.DEADLINE else None
    return headline(warn("!"), bold(f"{compared} compared:"), "no lost event found", double, unjudged, late)
