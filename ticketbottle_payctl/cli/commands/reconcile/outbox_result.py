"""The comparison of outbox and Kafka, for programs and for people, and the file of ids to replay."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Block, Result, Table, bad, bold, dim, good, line, warn
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.reconcile.compare_outbox import REPAIRABLE, Difference, Disagreement, OutboxComparison

SCHEMA = "payctl.reconcile-outbox/1"
_SHOWN = 1000


class ComparedCounts(TypedDict):
    """How many events were compared, and how many differ."""

    compared: Count
    """Published events created in the window."""
    lost: Count
    """Events that are not in their topic."""
    wrong: Count
    """Events with another value, key or topic."""
    double: Count
    """Events sent more than once, replays not counted."""
    out_of_order: Count
    """Events sent before an earlier event of the payment."""
    unjudged: Count
    """Events sent before the oldest record that the topics still keep, or not reached in time."""
    other: Count
    """Records of events outside the window."""


class ComparedFacts(TypedDict):
    """How the comparison ended."""

    complete: bool
    """Whether Kafka was read to its end."""
    repair_file: str | None
    """The file that the ids were written to."""
    repair: str | None
    """The command that repairs."""


class DifferenceItem(TypedDict):
    """One event that differs."""

    event_id: str
    """The outbox row."""
    aggregate_id: str
    """The payment."""
    event_type: str
    """The event type of the row."""
    difference: Difference
    detail: str
    """What differs, or where the copies are."""
    copies: Count
    """Records of the event."""
    created_at: datetime
    """UTC."""
    published_at: datetime
    """UTC."""


def to_repair(report: OutboxComparison) -> list[str]:
    """Return the ids of the events that a replay repairs, each once, in order."""
    return list(dict.fromkeys(each.event.id for each in report.disagreements if each.difference in REPAIRABLE))


def refuse_existing(path: Path) -> None:
    """Return if nothing exists at ``path``.

    Raises:
        InputError: ``path`` exists.
    """
    if os.path.lexists(path):
        message = f"{path} already exists"
        raise InputError(message, hint="name a new file: nothing is overwritten")


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """Write the ids to a new file, as ``payctl replay --from-file`` reads them.

    Raises:
        InputError: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write("# lost or wrong in Kafka, found by payctl reconcile outbox\n")
            file.writelines(f"{each}\n" for each in ids)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise InputError(message, hint="name a new file in a directory that you may write to") from error


def result_of(report: OutboxComparison, repair: Path | None) -> Result:
    """Return the comparison. Exit 5 if events are lost, wrong or out of order; events that came twice do not count."""
    found = Counter(each.difference for each in report.disagreements)
    ids = to_repair(report)
    bad_ones = sum(found[each] for each in Difference if each is not Difference.DOUBLE)
    command = f"payctl replay --from-file {shlex.quote(str(repair))} --allow-published" if repair and ids else None
    code = ExitCode.NO if bad_ones else ExitCode.DONE if report.complete else ExitCode.DEADLINE
    facts: ComparedFacts = {
        "complete": report.complete,
        "repair_file": str(repair) if repair and ids else None,
        "repair": command,
    }
    counts: ComparedCounts = {
        "compared": report.compared,
        "lost": found[Difference.LOST],
        "wrong": found[Difference.WRONG],
        "double": found[Difference.DOUBLE],
        "out_of_order": found[Difference.OUT_OF_ORDER],
        "unjudged": report.unjudged,
        "other": report.other,
    }
    return Result(
        SCHEMA,
        code,
        result=facts,
        counts=counts,
        items=[_item(each) for each in report.disagreements],
        human=_human(report, found, command, ids),
        warnings=_warnings(report),
    )


def _item(each: Disagreement) -> DifferenceItem:
    return {
        "event_id": each.event.id,
        "aggregate_id": each.event.key,
        "event_type": each.event.event_type,
        "difference": each.difference,
        "detail": each.detail,
        "copies": each.copies,
        "created_at": each.event.created_at,
        "published_at": each.event.published_at,
    }


def _human(
    report: OutboxComparison, found: Mapping[Difference, int], command: str | None, ids: Sequence[str]
) -> list[Block]:
    if not report.disagreements:
        note = dim(f"{report.unjudged:,} not compared") if report.unjudged else None
        return [line(good("✔"), bold(count(report.compared, "event")), "in Kafka as expected", note)]
    words = [f"{found[each]:,} {each.value.replace('_', ' ')}" for each in Difference if found[each]]
    rows = tuple(
        (each.difference.value, each.event.id, each.event.key, each.event.event_type, each.detail)
        for each in report.disagreements[:_SHOWN]
    )
    blocks: list[Block] = [
        line(bad("✘"), bold(f"{count(report.compared, 'event')} compared:"), *words),
        Table(("difference", "event", "payment", "type", "detail"), rows),
    ]
    if len(report.disagreements) > _SHOWN:
        blocks.append(line(dim(f"the first {_SHOWN:,}; -o ndjson lists all")))
    if command:
        blocks.append(line(warn("repair:"), command))
    elif ids:
        blocks.append(line(warn("repair:"), f"--repair-out FILE writes {count(len(ids), 'id')} for payctl replay"))
    return blocks


def _warnings(report: OutboxComparison) -> list[str]:
    if not report.complete:
        return ["Kafka could not be read to the end in time, so no event is reported as lost; set a longer --deadline"]
    if report.unjudged:
        return [f"{count(report.unjudged, 'event')} sent before the topics' retention began: not compared"]
    return []
