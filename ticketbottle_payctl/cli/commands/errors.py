"""Implement ``payctl errors``, which groups the errors of unpublished events and shows how to replay each group."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, NotRequired, TypedDict

import typer

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy, remedy_of
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input import selector_options
from ticketbottle_payctl.cli.input.selector import selector_of
from ticketbottle_payctl.cli.output.delivery_remedy_words import remedy_sentence
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.instants import zone_shown
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bold, dim, good, headline, line, warn
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.cli.safety.cause_advice import next_lines
from ticketbottle_payctl.domain.causes import replay_options
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE, is_small_enough_now
from ticketbottle_payctl.domain.unknown_types import what_to_do
from ticketbottle_payctl.facts import Count, Keywords
from ticketbottle_payctl.formats import PLACEHOLDER, count, rfc3339, span, span_and_age
from ticketbottle_payctl.jobs.error_groups import ErrorsReport, group_errors
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector

_DEFAULT_LIMIT = 50
_NOT_COUNTED = (
    "the events that are waiting without an error were not counted, because the database took too long;"
    " run the command again"
)


class ErrorCounts(TypedDict):
    """The number of groups, and the number of events in all groups."""

    groups: Count
    """The number of groups in `items`."""
    events: Count
    """The number of events in these groups, including the closed ones."""
    closed: NotRequired[Count]
    """The number of dead events in these groups that a person has closed."""
    waiting: NotRequired[Count]
    """How many events have been waiting for more than ten seconds without an error.

    Left out if selectors were given, or if the database took too long to count these events.
    """


class ErrorGroupItem(TypedDict):
    """Unpublished events that failed in the same way."""

    group: str
    """The group's id for --error-group: eight hexadecimal digits."""
    pattern: str | None
    """The error without ids or numbers."""
    count: Count
    dead: Count
    """The number of these events that are out of retries."""
    first: datetime
    """When the oldest of the events was created (UTC)."""
    last: datetime
    """When the newest of the events was created (UTC)."""
    event_types: Sequence[str]
    by_type: NotRequired[Mapping[str, Count]]
    """The number of events of each type."""
    sample: str | None
    """The error of the newest open event that a replay would requeue.

    If a replay leaves out all of them, this is the error of the newest open event that is not superseded, or else of
    the newest open event. A closed event is named only if all events are closed."""
    sample_id: str
    """The id of the event whose error is in `sample`."""
    replay: str
    """The command that replays these events, except superseded events, events of unknown types and events that are too
    large for payctl; empty if no other event is in the group."""
    release: NotRequired[str]
    """The command that sends the events behind the superseded ones, after the replay; empty if none is waiting.

    If a pending failure event would take the tickets of a paid order, this is a dry run, which sends nothing.
    """
    superseded: NotRequired[Count]
    """The number of superseded events.

    A replay skips them, because their messages would take tickets away from customers who have paid.
    """
    repeated: NotRequired[Count]
    """The number of harmless dead events that repeat a success which was sent.

    A replay sends them again, which changes nothing for the customer.
    """
    unknown: NotRequired[Count]
    """The number of events of a type that payctl does not know.

    A replay skips them, because they have no topic.
    """
    too_large: NotRequired[Count]
    """The number of other events that Kafka refused because they are larger than the largest message that payctl sends.

    A replay skips them, because they would fail again.
    """
    blocking: NotRequired[Count]
    """The number of dead superseded events that block a pending event of the same payment."""
    blocks: NotRequired[Count]
    """The number of payments whose later events wait behind these dead events."""
    closed: NotRequired[Count]
    """The number of harmless dead events that a person has closed."""
    close: NotRequired[str]
    """The command that closes the oldest harmless event; empty if none is open."""
    remedy: NotRequired[Annotated[str, Keywords(enum=[*DeliveryRemedy])] | None]
    """What to fix before the replay, because otherwise the events would fail again."""
    todo: NotRequired[str | None]
    """What to fix before the replay, as a sentence."""


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
    release = adviser.publishing(["--on-dead", "release"]) if any(each.blocking for each in report.groups) else ""
    now = session.services.now() if is_terminal(sys.stdout) else None
    counts: ErrorCounts = {"groups": len(report.groups), "events": report.events, "closed": report.closed}
    if report.waiting is not None:
        counts["waiting"] = report.waiting.events
    session.finish(
        Result(
            "payctl.errors/1",
            ExitCode.PARTIAL if report.timed_out else ExitCode.DONE,
            counts=counts,
            items=[_item(group, selector, adviser, release) for group in report.groups],
            truncated=report.truncated,
            human=_human(report, selector, adviser, release, now),
            warnings=[_NOT_COUNTED] if report.timed_out else [],
        )
    )


def _item(group: ErrorGroup, selector: Selector, adviser: Adviser, release: str) -> ErrorGroupItem:
    return {
        "group": group.group,
        "pattern": redact(group.pattern) or None,
        "count": group.count,
        "dead": group.dead,
        "first": group.first,
        "last": group.last,
        "event_types": list(group.event_types),
        "by_type": dict(group.by_type),
        "sample": redact(group.sample) if group.sample else None,
        "sample_id": group.sample_id,
        "replay": _replay(group, selector, adviser),
        "release": release if group.blocking else "",
        "superseded": group.superseded,
        "repeated": group.repeated,
        "unknown": group.unknown,
        "too_large": group.too_large,
        "blocking": group.blocking,
        "blocks": group.blocks,
        "closed": group.closed,
        "close": _close(group, adviser),
        "remedy": _remedy(group),
        "todo": _todo(group),
    }


def _replay(group: ErrorGroup, selector: Selector, adviser: Adviser) -> str:
    """Return the command that replays the counted events, or an empty string if a replay does not help.

    The command has the same selectors, and a window with exact times.
    """
    if not group.replayable:
        return ""
    words = [*replay_options(group.group, dead=selector.failed or group.dead == group.count)]
    for each in selector.types:
        words += ["--type", each]
    bounds = ((option, _written(at)) for option, at in (("--since", selector.since), ("--until", selector.until)) if at)
    for option, value in (("--provider", selector.provider), ("--error", selector.error), *bounds):
        words += [option, value] if value else []
    reason = replace(adviser, reason=f"error group {group.group}")
    return reason.changing(["replay"], options=words, rows=group.replayable)


def _close(group: ErrorGroup, adviser: Adviser) -> str:
    """Return the command that closes the group's oldest harmless event, or an empty string if none is open."""
    if group.to_close is None:
        return ""
    return replace(adviser, reason=PLACEHOLDER).changing(["close"], [group.to_close])


def _remedy(group: ErrorGroup) -> DeliveryRemedy | None:
    return remedy_of(group.sample, group.sample_type, group.message_bytes)


def _todo(group: ErrorGroup) -> str | None:
    """Return what to do before a replay as a sentence. In a mixed group, say how many events each step is for."""
    if group.is_closed:
        return None
    steps = (
        (group.open_unknown, what_to_do(group.open_types) if group.open_unknown else None),
        (group.too_large, _shrink(group)),
        (group.replayable, _before_replay(group)),
    )
    said = [f"{_for(number, group)}{step}" for number, step in steps if number and step]
    return "; ".join(said) or None


def _before_replay(group: ErrorGroup) -> str | None:
    """Return what to do before the replay of the events that it does not leave out, or None."""
    remedy = _remedy(group) if group.replayable else None
    if remedy is None:
        return None
    return remedy_sentence(remedy, group.replay_types, group.message_bytes, events=group.replayable)


def _shrink(group: ErrorGroup) -> str | None:
    """Return what to do about the events that are too large for payctl, or None if there are none."""
    if not group.too_large:
        return None
    return remedy_sentence(DeliveryRemedy.SHRINK_PAYLOAD, (), group.too_large_bytes, events=group.too_large)


def _too_large(group: ErrorGroup) -> str | None:
    """Return how many events are too large for payctl, or None. In a mixed group, also say what to do about them."""
    if not group.too_large:
        return None
    limit = f"payctl sends at most {LARGEST_MESSAGE:,} bytes"
    return f"{group.too_large:,} of {group.count:,}: {limit if group.too_large == group.count else _shrink(group)}"


def _for(number: int, group: ErrorGroup) -> str:
    """Return a phrase that says how many of the group's events a step is for, or an empty string for all of them."""
    return "" if number == group.count else f"for {number:,} of {group.count:,}, "


def _first(group: ErrorGroup) -> str | None:
    """Return what to do before a replay, or say that the refused messages are smaller now and nothing is to do."""
    if group.is_closed:
        return None
    rest = group.replayable
    if rest and is_small_enough_now(group.sample, group.message_bytes):
        step: str | None = "the message is smaller now" if rest == 1 else "the messages are smaller now"
    elif group.too_large == group.count:
        step = _shrink(group)
    else:
        step = _before_replay(group)
    return f"{_for(rest or group.count, group)}{step}" if step else None


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


def _written(at: datetime) -> str:
    """Return the window's start or end as text, rounded up to a whole millisecond.

    Events have times in whole milliseconds, so the rounded time selects the same events.
    """
    return rfc3339(at + timedelta(microseconds=999))


def _created(group: ErrorGroup, now: datetime | None) -> str:
    """Return when the events were created, as text.

    If ``now`` is given, the text is for a terminal and contains ages.
    """
    if now is None:
        return span(group.first, group.last, zone_shown())
    return span_and_age(group.first, group.last, zone_shown(), now)


def _human(
    report: ErrorsReport, selector: Selector, adviser: Adviser, release: str, now: datetime | None
) -> list[Block]:
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
        replay = _replay(group, selector, adviser)
        sends = release if group.blocking else None
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
                    ("too large", _too_large(group)),
                    ("closed", f"{group.closed:,} of {group.count:,}, by an operator" if group.closed else None),
                    ("created", _created(group, now)),
                    ("types", _types(group)),
                    ("sample", sample if sample != pattern else None),
                    ("event", adviser.reading(["show"], [group.sample_id])),
                    ("first", _first(group)),
                    ("to replay", f"{group.replayable:,} of {group.count:,}" if replay and group.left_out else None),
                    ("replay", replay or None),
                    ("to release", _to_release(group) if replay else None),
                    ("then", sends if replay else None),
                    ("blocks", _blocks(group) if group.dead else None),
                    ("to release", None if replay else _to_release(group)),
                    ("release", None if replay else sends),
                    ("close", _close(group, adviser) or None),
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
