"""The sentences of a report: the verdict, and what was not counted."""

from __future__ import annotations

from datetime import UTC, tzinfo

from ticketbottle_payctl.formats import count, duration, money, wall_clock
from ticketbottle_payctl.jobs.report.model import Gap, GapReason, Report, Section
from ticketbottle_payctl.store.outbox.flow import MOST_READ

_SECTIONS = {
    Section.FLOW: "the events of the window",
    Section.CALLBACKS: "the callbacks",
    Section.PAYMENTS: "the payments",
    Section.UNPUBLISHED_ORDERS: "the paid orders whose event is not published",
    Section.NO_EVENT: "the paid orders without an event",
    Section.REFUSED_ORDERS: "the orders whose callback was refused",
    Section.DEAD_GROUPS: "the errors of the dead events",
    Section.RUNS: "the runs of operators",
}


def verdict(report: Report) -> str:
    """Return the answer in one line."""
    if report.is_quiet:
        whole = report.no_event is not None
        each = "each paid order has its event, " if whole else ""
        return f"Nothing is open: {each}no event waits, and no event is dead."
    waiting, failures = report.waiting, sum(gap.is_failure for gap in report.gaps)
    parts = [_customers(report)]
    if report.no_event is not None and report.no_event.number:
        number = report.no_event.number
        parts.append(f"{count(number, 'paid order')} {'has' if number == 1 else 'have'} no event.")
    if waiting.pending:
        wait = "waits" if waiting.pending == 1 else "wait"
        parts.append(f"{count(waiting.pending, 'event')} {wait}, the oldest for {duration(waiting.oldest_age_s or 0)}.")
    if waiting.dead:
        parts.append(f"{count(waiting.dead, 'event')} {'is' if waiting.dead == 1 else 'are'} dead.")
    if failures:
        parts.append(f"{count(failures, 'part')} of this report {'was' if failures == 1 else 'were'} not counted.")
    return " ".join(parts)


def gap_sentence(gap: Gap, zone: tzinfo = UTC) -> str:
    """Return what was not counted, and why, as a sentence. ``zone`` is the zone in which an instant is shown."""
    what, before = _SECTIONS[gap.section], wall_clock(gap.before, zone) if gap.before else None
    match gap.reason:
        case GapReason.TIMED_OUT:
            return f"{_upper(what)} were not counted: the database took too long. Try a shorter window."
        case GapReason.TOO_MANY_EVENTS:
            return (
                f"Only the {MOST_READ:,} newest published events were read. The number of sent events and the lag leave"
                f" out events created before {before}."
            )
        case GapReason.PAST_RETENTION if gap.section is Section.NO_EVENT:
            return (
                f"{_upper(what)} were not counted before {before}. That is longer ago than OUTBOX_RETENTION_DAYS, so a"
                " cleanup may have deleted their events."
            )
        case GapReason.PAST_RETENTION:
            return (
                f"Events published before {before} may be missing. That is longer ago than OUTBOX_RETENTION_DAYS, so a"
                " cleanup may have deleted them."
            )
        case GapReason.TOO_MANY_RUNS | GapReason.TOO_MANY_GROUPS:
            return f"{_upper(what)} are too many to list. The list leaves out the last ones."


def _customers(report: Report) -> str:
    number = report.without_ticket
    if not number:
        return "No customer who paid waits for a ticket."
    has = "has" if number == 1 else "have"
    return f"{count(number, 'customer')} {has} paid and {has} no ticket ({money(report.amount)})."


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
