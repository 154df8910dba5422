"""Show a replay plan to people: the planned events, the consequences, and the events that are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ticketbottle_payctl.cli.output.instants import zone_shown
from ticketbottle_payctl.cli.output.result import Block, Fields, Table, bad, bold, line, warn
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.domain.unknown_types import what_to_do
from ticketbottle_payctl.formats import count, duration, rate, span
from ticketbottle_payctl.jobs.replay import LeftOut, LeftOutReason, ReplayOptions, ReplayPlan, Superseded

_MOST_SHOWN = 20
WHY = {
    "published": "already published; needs --allow-published",
    "superseded": "superseded: the customer has paid since",
    "unknown_type": "payctl does not know this event type",
    "too_large": f"payctl sends at most {LARGEST_MESSAGE:,} bytes",
    "not_found": "no event has this id",
    "not_selected": "the other selectors exclude it, or it was deleted",
    "changed": "changed since the plan",
    "gone": "deleted since the plan",
    "locked": "locked by another session, such as a publisher",
}
"""The text for each reason for skipping a row."""

_CLOSED = {
    LeftOutReason.SUPERSEDED: "superseded, and closed by an operator",
    LeftOutReason.UNKNOWN_TYPE: "unknown type, and closed by an operator",
}
"""The text for each reason for skipping an event that a person has closed."""


def plan_blocks(plan: ReplayPlan, options: ReplayOptions, first: str | None = None) -> list[Block]:
    """Return the plan as text, with the number of events and a forecast.

    ``first`` says what to do before the replay.
    """
    return [line(bold("Plan"), f"set {count(len(plan.events), 'event')} back to pending"), _forecast(plan, options),
            *superseded_blocks(plan.superseded), *left_out_blocks(plan),
            *([line(bad("first:"), first)] if first else [])]  # fmt: skip


def superseded_blocks(found: Sequence[Superseded]) -> Iterator[Block]:
    """List the superseded events that the plan includes."""
    if not found:
        return
    yield line(bad("DANGER:"), superseded_warning(found))
    yield Table(("superseded, included", "type", "payment"), tuple(found[:_MOST_SHOWN]))
    if len(found) > _MOST_SHOWN:
        yield line(f"and {len(found) - _MOST_SHOWN:,} more; -o json lists all")


def superseded_warning(found: Sequence[Superseded]) -> str:
    """Return the warning about superseded events in the plan."""
    return (
        f"{count(len(found), 'superseded event')} INCLUDED by --allow-superseded. A superseded event's payment is "
        "COMPLETED now; if the event is sent again, the customer loses their tickets"
    )


def superseded_row(found: Sequence[Superseded], options: ReplayOptions) -> tuple[str, object]:
    """Return a row with the number of superseded events. If the options do not allow such events, the value is None."""
    if found:
        return "superseded", bad(f"{len(found):,} INCLUDED")
    return "superseded", "allowed, but none found" if options.allow_superseded else None


def superseded_note(found: Sequence[Superseded]) -> str:
    """Return a note for the confirmation prompt about the harm that superseded events would do."""
    return f"{len(found):,} of them superseded: paying customers lose their tickets" if found else ""


def left_out_blocks(plan: ReplayPlan) -> Iterator[Block]:
    """List the first events that are left out, each with the reason."""
    left_out = plan.left_out
    if not left_out:
        return
    rows = tuple(
        (left.id, left.event_type, (_CLOSED if left.id in plan.closed else WHY)[left.reason])
        for left in left_out[:_MOST_SHOWN]
    )
    yield Table(("left out", "type", "why"), rows)
    if len(left_out) > len(rows):
        yield line(f"and {len(left_out) - len(rows):,} more; -o json lists all")
    advice = unknown_type_advice(plan.open_left_out)
    if advice:
        yield line(bold("to do:"), advice)


def unknown_type_advice(left_out: Sequence[LeftOut]) -> str | None:
    """Return what to do about the events that are left out because of their type, or None if there are none."""
    types = [left.event_type for left in left_out if left.reason is LeftOutReason.UNKNOWN_TYPE and left.event_type]
    return what_to_do(types) if types else None


def skipped_rows(outcomes: Mapping[tuple[str, str | None], int], outcome: str) -> list[tuple[str, object]]:
    """Return a row for each reason for this outcome. The most frequent reason comes first."""
    found = sorted(((number, reason) for (each, reason), number in outcomes.items() if each == outcome), reverse=True)
    return [(outcome, f"{number:,} {WHY.get(reason or '', reason or '')}".rstrip()) for number, reason in found]


def _twice(published: int) -> str:
    return f"consumers will see {'it' if published == 1 else 'them'} twice"


def _changes(failed: int, pending: int) -> str | None:
    """Return how the replay changes pending events, or None if none of them has failed."""
    if not failed:
        return None
    events = "event" if pending == 1 else "events"
    which = f"the pending {events}" if failed == pending else f"{failed:,} of {pending:,} pending {events}"
    return f"{which} {'gets all its' if failed == 1 else 'get all their'} retries back"


def _takes(seconds: float) -> str:
    return "under a second" if seconds < 1 else f"about {duration(seconds)}"


def _forecast(plan: ReplayPlan, options: ReplayOptions) -> Fields:
    states = plan.by_state
    published, newer = states["published"], plan.keys_with_newer
    left = Counter(left.reason for left in plan.left_out)
    listed = len(plan.left_out) <= _MOST_SHOWN  # a table below names each event and its reason
    pace = f", at {rate(options.rate)}" if options.rate else ""
    sent = "the event" if sum(states.values()) == 1 else "the events"
    window = span(plan.oldest, plan.newest, zone_shown()) if plan.oldest and plan.newest else None
    return Fields(
        (
            ("now", ", ".join(f"{number:,} {state}" for state, number in sorted(states.items())) or None),
            ("changes", _changes(plan.failed, states["pending"])),
            ("types", ", ".join(f"{number:,} {name}" for name, number in plan.by_type.items()) or None),
            ("created", window),
            superseded_row(plan.superseded, options),
            ("already published", warn(f"{published:,}: {_twice(published)}") if published else "none"),
            (
                "payments with newer published events",
                warn(f"{newer:,}: consumers get the older event after the newer one") if newer else "none",
            ),
            *(
                ("left out", f"{left[reason]:,} {WHY[reason]}")
                for reason in LeftOutReason
                if left[reason] and not listed
            ),
            ("canary", f"{options.canary:,} first" if options.canary else None),
            ("takes", f"{_takes(plan.seconds(options.rate))}{pace}; then a publisher sends {sent}"),
        )
    )
