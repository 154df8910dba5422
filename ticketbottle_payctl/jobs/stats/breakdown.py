"""Break the outbox's events down by status, error, type or gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from ticketbottle_payctl.jobs.stats.model import StatsReport, Tally
from ticketbottle_payctl.store.outbox.stats import By, Group


def tallied(report: StatsReport, by: By | None, groups: Sequence[Group], sent: Mapping[str | None, int]) -> StatsReport:
    """Return the report with its breakdown. ``sent`` maps each label to the number of its published events."""
    match by:
        case None:
            return report
        case By.STATUS:
            items = _by_status(report)
        case By.ERROR:
            items = _by_error(groups)
        case By.TYPE | By.PROVIDER:
            items = _by_label(groups, sent)
        case _:
            assert_never(by)
    return replace(report, by=by, items=tuple(items))


def _by_status(report: StatsReport) -> list[Tally]:
    return [
        Tally("pending", report.pending, 0, None, report.oldest_pending_age_s),
        Tally("dead", 0, report.dead, None, report.oldest_dead_age_s),
        Tally("published", 0, 0, report.published, None),
    ]


def _by_error(groups: Sequence[Group]) -> list[Tally]:
    return _merged([(group.error, group) for group in groups], None)


def _by_label(groups: Sequence[Group], sent: Mapping[str | None, int]) -> list[Tally]:
    return _merged([(group.event_type or group.provider, group) for group in groups], sent)


def _merged(labelled: Sequence[tuple[str | None, Group]], sent: Mapping[str | None, int] | None) -> list[Tally]:
    """Return one row for each label, sorted by the number of dead events, then of pending events, largest first."""
    rows = []
    for label in dict.fromkeys([*(label for label, _ in labelled), *(sent or ())]):
        of_it = [group for name, group in labelled if name == label]
        rows.append(
            Tally(
                label=label,
                pending=sum(group.events for group in of_it if not group.dead),
                dead=sum(group.events for group in of_it if group.dead),
                published=None if sent is None else sent.get(label, 0),
                oldest_age_s=max((group.age_s for group in of_it), default=None),
                error_group=next((group.error_group for group in of_it), None),
            )
        )
    return sorted(rows, key=lambda row: (-row.dead, -row.pending, row.label or ""))
