"""Build a report's sentences: the verdict, what is still open, what happened, and what was not counted.

The functions' ``quote`` parameter makes external text safe: as a code span for Markdown, or as plain text for a
terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo

from ticketbottle_payctl.cli.commands.report.figures import Commands, counts_of
from ticketbottle_payctl.domain.causes import taken_tickets
from ticketbottle_payctl.domain.unknown_types import what_to_do
from ticketbottle_payctl.formats import count, duration, money, short_id, wall_clock
from ticketbottle_payctl.jobs.report.model import Gap, GapReason, Moment, MomentKind, Report, Section
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.flow_in_window import MOST_READ
from ticketbottle_payctl.store.outbox.republished import MOST_LOOKED_AT
from ticketbottle_payctl.store.payctl.runs import Run, RunAct
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, WithoutTicket
from ticketbottle_payctl.store.payments.sent_failures import FAILED_BEFORE_SUCCESS, RELEASED_AFTER_SUCCESS

Quote = Callable[[object], str]

_SECTIONS = {
    Section.FLOW: "the events in the window",
    Section.CALLBACKS: "the callbacks",
    Section.PAYMENTS: "the payments",
    Section.UNPUBLISHED_ORDERS: "the paid orders whose event is not published",
    Section.NO_EVENT: "the paid orders without an event",
    Section.REFUSED_ORDERS: "the orders whose callback was refused",
    Section.MONEY_ORDERS: "the orders whose payments need manual review",
    Section.LATE_FAILURES: "the pending failure events that would take the tickets of paid orders",
    Section.DEAD_GROUPS: "the groups of dead events",
    Section.RUNS: "the operators' runs",
}

_WHY = {
    WithoutTicket.PENDING: "its event from {} is waiting",
    WithoutTicket.BLOCKED: "its event from {} waits behind a dead event",
    WithoutTicket.DEAD: "its event from {} is dead",
    WithoutTicket.NO_EVENT: "paid {}, but the outbox has no success event for it",
    WithoutTicket.REFUSED: "its callback from {} was refused",
    WithoutTicket.MONEY: "money from {}, which needs manual review",
}

_SAID: Mapping[MomentKind, str] = {
    MomentKind.RUN_STARTED: "an operator started {what}",
    MomentKind.RUN_ENDED: "a run ended: {what}",
    MomentKind.FIRST_REFUSED: "first refused callback: {what}",
    MomentKind.LAST_REFUSED: "last refused callback: {what}",
    MomentKind.LONGEST_LAG: "longest lag: {what} was sent {lag} after it was created",
    MomentKind.MOST_WAITING: "most events waiting at once, at about this time: {number}",
    MomentKind.PAUSE: "no event was sent until {until}, although {waiting}",
    MomentKind.FIRST_DEAD: "{first} now dead{closed} was created: {what}",
    MomentKind.OLDEST_PENDING: "the longest-waiting event was {did}",
}

_TOO_MANY: Mapping[GapReason, str] = {
    GapReason.TOO_MANY_EVENTS: f"Only the {MOST_READ:,} newest published events were read. The number of sent events"
    " and the lag leave out events created before {before}.",
    GapReason.TOO_MANY_WAITING: f"The longest wait was searched only among the {MOST_LOOKED_AT:,} oldest pending"
    " events. A newer event may have waited longer.",
    GapReason.TOO_MANY_ORDERS: "Only the oldest of {what} were counted; there may be more. Try a shorter window.",
    **dict.fromkeys(
        (GapReason.TOO_MANY_RUNS, GapReason.TOO_MANY_GROUPS),
        "There are too many {things} to list. The list leaves out the last ones.",
    ),
}
"""The sentences about what was counted or listed only in part."""


def verdict(report: Report) -> str:
    """Return the report's main result on one line."""
    if report.is_quiet:
        whole = report.no_event is not None
        each = "each paid order has its event, " if whole else ""
        dead = _closed_words(report.waiting.dead) if report.waiting.dead else "no event is dead"
        closed = f" {closed_payments_sentence(report)}." if report.closed_payments else ""
        return f"Nothing is open: {each}no event is waiting, and {dead}.{closed}"
    waiting, failures = report.waiting, sum(gap.is_failure for gap in report.gaps)
    parts = [*_tickets_at_risk(report), *_customers(report)]
    if report.no_event is not None and report.no_event.number:
        number = report.no_event.number
        parts.append(f"{count(number, 'paid order')} {'has' if number == 1 else 'have'} no success event.")
    if report.overdue:
        are = "payment is" if report.overdue == 1 else "payments are"
        parts.append(f"{report.overdue:,} {are} overdue and may have been paid: {_how_to_find_out(report)}.")
    if report.closed_payments:
        parts.append(f"{closed_payments_sentence(report)}.")
    if report.for_a_person:
        has = "has" if report.for_a_person == 1 else "have"
        parts.append(f"{count(report.for_a_person, 'order')} {has} a payment that needs manual review.")
    if waiting.pending:
        are = "is" if waiting.pending == 1 else "are"
        longest = duration(waiting.longest.age_s if waiting.longest else 0)
        longest = longest if waiting.longest is None or waiting.longest.is_longest else f"at least {longest}"
        parts.append(f"{count(waiting.pending, 'event')} {are} waiting, the longest for {longest}.")
    if waiting.dead > report.closed:
        harmless = ", harmless" if report.some_repeat else ", superseded: harmless"
        harm = harmless if report.dead_do_no_harm else ""
        harm += f", {report.closed:,} closed by an operator" if report.closed else ""
        number = waiting.dead - report.closed
        parts.append(f"{count(number, 'event')} {'is' if number == 1 else 'are'} dead{harm}.")
    elif waiting.dead:
        parts.append(f"{_closed_words(waiting.dead)}.")
    if failures:
        parts.append(f"{count(failures, 'part')} of this report {'was' if failures == 1 else 'were'} not counted.")
    return " ".join(parts)


def overdue_sentence(report: Report) -> str | None:
    """Return a sentence about overdue payments, or None if no payment is overdue."""
    number = report.overdue
    if not number:
        return None
    are = "is" if number == 1 else "are"
    return f"{count(number, 'payment')} created in the window {are} PENDING for over 20 minutes, and may have been paid"


def closed_payments_sentence(report: Report) -> str:
    """Return a sentence about the overdue payments that a person has closed."""
    number = report.closed_payments
    return f"{count(number, 'overdue payment')} {'was' if number == 1 else 'were'} closed by an operator"


def too_old_sentence(report: Report) -> str | None:
    """Return a sentence about the overdue payments that are too old for a status query, or None if there are none."""
    number = report.overdue_in_portal
    if not number:
        return None
    some = "One of them is" if number == 1 else f"{number:,} of them are"
    which = some if can_ask_gateways(report) else "It is" if number == 1 else "They are"
    portal = "look in the gateway's portal, then record what you found with payctl close"
    return f"{which} too old for the gateway's status query: {portal}"


def can_ask_gateways(report: Report) -> bool:
    """Return whether a gateway still answers a status query about an overdue payment."""
    return report.overdue > report.overdue_in_portal


def order_sentence(order: OpenOrder, zone: tzinfo, quote: Quote) -> str:
    """Return a sentence with an order's code, its amount, and the reason why the customer has no ticket."""
    amount = "amount unknown" if order.amount is None else money(order.amount)
    named = f"order {quote(order.order_code)}" if order.order_code else "order unknown"
    return f"{named}, {amount}: {why_open(order, zone, quote)}"


def dead_words(group: ErrorGroup) -> str:
    """Return how many of a group's dead events are open, and how many a person has closed.

    Also say how many of the open events are superseded, or repeat a success that was sent.
    """
    open_ones = group.dead - group.closed
    superseded = group.superseded + group.repeated - (group.closed - group.closed_unknown)
    word = "superseded or sent before" if group.repeated else "superseded"
    closed = f", {group.closed:,} closed by an operator" if group.closed else ""
    dead = count(open_ones, "dead event")
    if not superseded:
        return f"{dead}{closed}"
    if superseded < open_ones:
        return f"{dead}, {superseded:,} {word}{closed}"
    return f"{dead}, {word}{'' if group.blocking else ': harmless'}{closed}"


def unknown_type_advice(group: ErrorGroup, quote: Quote) -> str | None:
    """Return what to do about the group's events of unknown types, or None if the group has no such event."""
    return what_to_do(group.open_types, quote) if group.open_unknown else None


def why_open(order: OpenOrder, zone: tzinfo, quote: Quote) -> str:
    """Return the reason why the order's customer has no ticket."""
    if order.kind is WithoutTicket.UNKNOWN_TYPE:
        return f"paid {wall_clock(order.at, zone)}, but {what_to_do([order.why or ''], quote)}"
    if order.why == RELEASED_AFTER_SUCCESS:
        sent = wall_clock(order.at, zone)
        return f"its failure event was sent {sent}, after its success, so the tickets may have been released"
    if order.why == FAILED_BEFORE_SUCCESS:
        sent = wall_clock(order.at, zone)
        return f"its success event was sent {sent}, after its failure, so the order service may have refused it"
    why = f": {quote(order.why)}" if order.why else ""
    return f"{_WHY[order.kind].format(wall_clock(order.at, zone))}{why}"


def moment_sentence(moment: Moment, zone: tzinfo, quote: Quote) -> str:
    """Return a sentence that says what happened, for one entry of the timeline."""
    number = moment.number or 0
    if moment.kind is MomentKind.RUN_STARTED and moment.until is not None:
        command, _, status = (moment.what or "").rpartition(": ")
        return f"an operator ran {quote(command)}; {quote(status)} at {wall_clock(moment.until, zone)}"
    return _SAID[moment.kind].format(
        what=quote(moment.what) if moment.what else "event",
        did=moment.what or "created",
        until=wall_clock(moment.until, zone) if moment.until else "now",
        lag=duration(number),
        number=f"{number:,.0f}",
        waiting=f"{count(int(number), 'event')} {'was' if number == 1 else 'were'} waiting",
        first="an event that is" if number == 1 else f"the first of {number:,.0f} events that are",
        closed=_closed_part(int(number), moment.closed),
    )


def with_runs_once(timeline: Sequence[Moment]) -> list[Moment]:
    """Return the timeline with one entry for each run. The entry says how the run ended, if it ended in the window."""
    ended = {moment.id: moment for moment in timeline if moment.kind is MomentKind.RUN_ENDED}
    started = {moment.id for moment in timeline if moment.kind is MomentKind.RUN_STARTED}
    whole = [
        moment._replace(what=ended[moment.id].what, until=ended[moment.id].at)
        if moment.kind is MomentKind.RUN_STARTED and moment.id in ended
        else moment
        for moment in timeline
    ]
    return [moment for moment in whole if moment.kind is not MomentKind.RUN_ENDED or moment.id not in started]


def look(moment: Moment, commands: Commands) -> str | None:
    """Return the command that shows more about an entry of the timeline, or None."""
    if moment.id is None:
        return commands.errors() if moment.kind is MomentKind.FIRST_DEAD else None
    if moment.kind in {MomentKind.RUN_STARTED, MomentKind.RUN_ENDED}:
        return commands.run(moment.id)
    return commands.show(moment.id)


def run_sentence(run: Run, zone: tzinfo, quote: Quote) -> str:
    """Return the result of a run, and when the run ended."""
    ended = f", ended {wall_clock(run.finished_at, zone)}" if run.finished_at else ""
    return f"{quote(run.status)}, {counts_of(dict(run.counts))}{ended}"


def act_sentence(run: Run, act: RunAct, quote: Quote) -> str:
    """Return a sentence that says who resumed or cancelled a run."""
    return f"{quote(act.who.actor or act.who.os_user)} {act.deed} run {quote(short_id(run.id))}"


def gap_sentence(gap: Gap, zone: tzinfo = UTC) -> str:
    """Return a sentence that says which part of the report is missing, and why. Times are shown in ``zone``."""
    what, before = _SECTIONS[gap.section], wall_clock(gap.before, zone) if gap.before else None
    match gap.reason:
        case GapReason.TIMED_OUT:
            return f"{_upper(what)} were not counted: the database took too long. Try a shorter window."
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
        case reason:
            return _TOO_MANY[reason].format(what=what, before=before, things=what.removeprefix("the "))


def _how_to_find_out(report: Report) -> str:
    portal, ask = "look in the gateway's portal", "ask the gateway with payctl reconcile payments"
    if not report.overdue_in_portal:
        return ask
    if not can_ask_gateways(report):
        return f"{portal}, because {'it is' if report.overdue == 1 else 'they are'} too old for its status query"
    which = "one that is" if report.overdue_in_portal == 1 else f"{report.overdue_in_portal:,} that are"
    return f"{ask}, or {portal} for the {which} too old for its status query"


def _tickets_at_risk(report: Report) -> list[str]:
    number = report.tickets_at_risk
    return [f"{taken_tickets(number)}; payctl stats says what to do."] if number else []


def _customers(report: Report) -> list[str]:
    number = report.without_ticket
    if not number:
        lost = report.tickets_at_risk or report.has_released_tickets
        return [] if lost else ["No customer who has paid is waiting for a ticket."]
    has = "has" if number == 1 else "have"
    return [f"{count(number, 'customer')} paid, or may have paid, and {has} no ticket ({money(report.amount)})."]


def _closed_words(number: int) -> str:
    return f"{count(number, 'dead event')} {'was' if number == 1 else 'were'} closed by an operator"


def _closed_part(number: int, closed: int) -> str:
    """Return a phrase that says how many of the dead events a person has closed."""
    if not closed:
        return ""
    return " and closed by an operator" if closed == number else f" ({closed:,} closed by an operator)"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
