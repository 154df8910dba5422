"""Report dead events and the events that wait behind them as causes. Advise a replay if it can help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ticketbottle_payctl.domain.causes.model import Cause, CauseKind, Command, DeadGroup, Evidence, Reason, Waiting
from ticketbottle_payctl.domain.causes.words import show, total
from ticketbottle_payctl.domain.event import ENVELOPE, LARGEST_MESSAGE, TOPICS
from ticketbottle_payctl.formats import count

_CODES_OF_SIZE = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE", "RECORD_LIST_TOO_LARGE")


def of_dead(evidence: Evidence) -> Iterator[Cause]:
    """Return one cause for each kind of dead event, and one for the blocked events. Debezium does not block events."""
    by_debezium = evidence.slot_active is not None  # Debezium does not block events and does not send replayed ones
    blocked = [one for one in evidence.waiting if one.reason is Reason.BLOCKED and not by_debezium]
    for group in evidence.dead_groups:
        events = count(group.events, "event")
        verb = "is" if group.events == 1 else "are"
        fact = f"{events} {verb} dead: {group.error or 'no error was recorded'}"
        meaning = "no publisher sends a dead event, and it blocks the later events of its payment"
        advice, command = _of_superseded(group, blocked) or _of_error(group)
        if by_debezium:
            advice, command = (
                "do not replay: payctl does not publish this outbox; see the event's payment",
                show(group.id),
            )
        yield Cause(CauseKind.DEAD, group.events, fact, meaning, advice, command)
    named = sum(group.events for group in evidence.dead_groups)
    if evidence.dead > named:
        rest = evidence.dead - named
        fact = f"{count(rest, 'more dead event')} with other errors"
        yield Cause(
            CauseKind.DEAD,
            rest,
            fact,
            "each dead event blocks the later events of its payment",
            None,
            Command(("errors",)),
        )
    if blocked:
        yield _of_blocked(evidence, blocked)


_RELEASE = (
    "skip the dead failure and send the success",
    Command(("publish-outbox",), options=("--on-dead", "release"), changes=True),
)


def _of_superseded(group: DeadGroup, blocked: Sequence[Waiting]) -> tuple[str, Command] | None:
    """Return the advice if every dead event of the group is superseded, otherwise None."""
    released = {one.blocker_type for one in blocked} if all(map(_is_superseded, blocked)) else set()
    return _RELEASE if released and released >= {*group.event_types} else None


def _of_error(group: DeadGroup) -> tuple[str, Command]:
    """Return the advice with a replay command. If a replay would fail again, return a command that shows the event."""
    code = (group.error or "").partition(":")[0]
    rows = group.events - group.superseded
    replay = Command(("replay",), (), ("--failed", "--error-group", group.group), changes=True, rows=rows)
    shown = show(group.id)
    if not rows:
        return "do not replay: the customer has paid since, and a replay leaves the event out; see its payment", shown
    topics = ", ".join(sorted({TOPICS.get(name, name) for name in group.event_types}))
    if code in _CODES_OF_SIZE and group.payload_bytes + ENVELOPE > LARGEST_MESSAGE:
        largest = f"{group.payload_bytes:,} bytes, and payctl sends at most {LARGEST_MESSAGE:,}"
        return f"do not replay: the payload has {largest}; see which payment it is", shown
    if code in _CODES_OF_SIZE:
        return f"raise max.message.bytes of {topics} to {group.payload_bytes + ENVELOPE:,} or more, then", replay
    if any(name not in TOPICS for name in group.event_types):
        return f"do not replay: no topic is known for {topics}; find out which program wrote the event", shown
    return "remove the cause, then", replay


def _of_blocked(evidence: Evidence, blocked: Sequence[Waiting]) -> Cause:
    oldest = max(blocked, key=lambda one: one.oldest_s)
    events = max(evidence.blocked, total(blocked))
    if events == 1:
        fact = f"event {oldest.id} waits behind dead event {oldest.blocker} of its payment"
    else:
        fact = f"{events:,} events wait behind a dead event of their payment; {oldest.id} waits behind {oldest.blocker}"
    if all(map(_is_superseded, blocked)):
        meaning = f"a later success supersedes the dead {oldest.blocker_type}: do not replay it"
        return Cause(CauseKind.BLOCKED, events, fact, meaning, *_RELEASE)
    meaning = "an event is sent only after the earlier events of its payment"
    return Cause(CauseKind.BLOCKED, events, fact, meaning, "resolve the dead event first", show(oldest.blocker or ""))


def _is_superseded(blocked: Waiting) -> bool:
    return blocked.event_type == "PAYMENT_COMPLETED" and blocked.blocker_type in {"PAYMENT_FAILED", "PAYMENT_CANCELLED"}
