"""The text that ``payctl errors`` prints."""

from __future__ import annotations

from datetime import datetime

from ticketbottle_payctl.cli.commands.errors.advised import close_command, replay_command
from ticketbottle_payctl.cli.commands.errors.todo import first_step, too_large
from ticketbottle_payctl.cli.output.instants import zone_shown
from ticketbottle_payctl.cli.output.result import Block, Fields, bold, dim, good, headline, line, warn
from ticketbottle_payctl.cli.safety.advised import Adviser, PublishAdvice
from ticketbottle_payctl.cli.safety.cause_advice import next_lines
from ticketbottle_payctl.domain.unknown_types import what_to_do
from ticketbottle_payctl.formats import count, span, span_and_age
from ticketbottle_payctl.jobs.error_groups import ErrorsReport
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector


def _superseded(group: ErrorGroup) -> str | None:
    """Return what a replay does about the superseded events, or None if there are none."""
    them, paid = ("it", "customer has") if group.superseded == 1 else ("them", "customers have")
    said = f"{group.superseded:,} of {group.count:,}: a replay leaves {them} out, because the {paid} paid"
    return said if group.superseded else None


def _to_release(group: ErrorGroup) -> str | None:
    """Return behind how many events of a mixed group the release sends later events, or None."""
    if not group.blocking or group.blocking == group.count:
        return None
    return f"the events behind {group.blocking:,} of {group.count:,}"


def _types(group: ErrorGroup) -> str:
    """Return the types of the events. If there are several, also say how many events have each type."""
    if len(group.by_type) == 1:
        return ", ".join(group.by_type)
    return ", ".join(f"{name} ({number:,})" for name, number in group.by_type.items())


def _blocks(group: ErrorGroup) -> str:
    """Return a phrase that says which events are waiting behind the group's dead events."""
    if not group.blocks:
        return "nothing: no other event is waiting behind these"
    return f"the later events of {count(group.blocks, 'payment')}"


def _created(group: ErrorGroup, now: datetime | None) -> str:
    """Return when the events were created, as text.

    If ``now`` is given, the text is for a terminal and contains ages.
    """
    if now is None:
        return span(group.first, group.last, zone_shown())
    return span_and_age(group.first, group.last, zone_shown(), now)


def text_of(
    report: ErrorsReport, selector: Selector, adviser: Adviser, release: PublishAdvice | None, now: datetime | None
) -> list[Block]:
    """Return the summary, and the details of each group."""
    late = report.timed_out or (report.waiting is not None and report.waiting.late)
    if not report.groups:
        mark = warn("!") if late else good("✔")
        return [headline(mark, "no unpublished event has failed"), *_waiting(report, adviser)]
    closed = report.closed
    kinds = count(sum(not each.is_closed for each in report.groups), "kind of error", "kinds of error")
    blocked = any(group.blocking for group in report.groups)
    nothing_left = closed == report.events and not blocked and not report.truncated
    mark = good("✔") if nothing_left and not late else warn("!")
    if closed == report.events:
        first = headline(mark, bold(f"{count(closed, 'event')}, closed by an operator"))
    else:
        told = f"{closed:,} closed by an operator" if closed else None
        first = headline(mark, bold(count(report.events - closed, "event")), kinds, told)
    blocks = [first, *_waiting(report, adviser)]
    for group in report.groups:
        replay = replay_command(group, selector, adviser)
        sends = release if group.blocking else None
        label = "dry run" if sends and sends.before else "then" if replay else "release"
        send = (label, sends.command if sends else None)
        pattern, sample = redact(group.pattern), redact(group.sample) if group.sample else None
        sent = f"{group.repeated:,} of {group.count:,}: harmless, because another event of the payment was sent"
        unknown = f"{group.open_unknown:,} of {group.count:,}: {what_to_do(group.open_types)}"
        blocks += [
            line(),
            line(bold(count(group.count, "time")), pattern or "(no error was recorded)", dim(group.group)),
            Fields(
                (
                    ("dead", f"{group.dead - group.closed:,} of {group.count:,}"),
                    ("superseded", _superseded(group)),
                    ("sent before", sent if group.repeated else None),
                    ("unknown type", unknown if group.open_unknown else None),
                    ("too large", too_large(group)),
                    ("closed", f"{group.closed:,} of {group.count:,}, by an operator" if group.closed else None),
                    ("created", _created(group, now)),
                    ("types", _types(group)),
                    ("sample", sample if sample != pattern else None),
                    ("event", adviser.reading(["show"], [group.sample_id])),
                    ("first", first_step(group)),
                    ("to replay", f"{group.replayable:,} of {group.count:,}" if replay and group.left_out else None),
                    ("replay", replay or None),
                    ("to release", _to_release(group) if replay else None),
                    *([send] if replay else ()),
                    ("blocks", _blocks(group) if group.dead else None),
                    ("to release", None if replay else _to_release(group)),
                    *([] if replay else [send]),
                    ("close", close_command(group, adviser) or None),
                )
            ),
        ]
    return blocks


def _waiting(report: ErrorsReport, adviser: Adviser) -> list[Block]:
    """Return a line about the events that are waiting without an error, with the command that says why."""
    waiting = report.waiting
    if waiting is None or not waiting.events:
        return []
    wait = "is waiting" if waiting.events == 1 else "are waiting"
    words = f"{'at least ' if waiting.more else ''}{count(waiting.events, 'event')} {wait} without an error:"
    return [*next_lines(" ", bold(words), None, adviser.reading(["doctor"]))]
