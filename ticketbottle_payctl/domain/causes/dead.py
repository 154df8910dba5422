"""Causes in single events: dead ones, and those behind them. Says which of them a replay can help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ticketbottle_payctl.domain.causes.model import Cause, CauseKind, Command, DeadGroup, Evidence, Reason, Waiting
from ticketbottle_payctl.domain.causes.words import show, total
from ticketbottle_payctl.domain.event import LARGEST_MESSAGE, TOPICS
from ticketbottle_payctl.formats import count, size

_CODES_OF_SIZE = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE", "RECORD_LIST_TOO_LARGE")
_HEADERS = 2_000
"""More bytes than key and headers of a message have."""


def of_dead(evidence: Evidence) -> Iterator[Cause]:
    """Return the kinds of dead events, and what waits behind one. Debezium blocks no event."""
    by_debezium = evidence.slot_active is not None  # it sends what it reads: no event of it is blocked or replayed
    blocked = [one for one in evidence.waiting if one.reason is Reason.BLOCKED and not by_debezium]
    for group in evidence.dead_groups:
        events = count(group.events, "event")
        verb = "is" if group.events == 1 else "are"
        fact = f"{events} {verb} dead: {group.error or 'no error was recorded'}"
        meaning = "no publisher sends a dead event, and it blocks the later events of its payment"
        advice, command = _of_superseded(group, blocked) or _of_error(group)
        if by_debezium:
            advice, command = "do not replay: payctl publishes nothing here; see its payment", show(group.id)
        yield Cause(CauseKind.DEAD, group.events, fact, meaning, advice, command)
    named = sum(group.events for group in evidence.dead_groups)
    if evidence.dead > named:
        rest = evidence.dead - named
        fact = f"{count(rest, 'more dead event')} with other errors"
        yield Cause(
            CauseKind.DEAD, rest, fact, "each blocks the later events of its payment", None, Command(("errors",))
        )
    if blocked:
        yield _of_blocked(evidence, blocked)


_RELEASE = "let the success pass", Command(("publish-outbox",), options=("--on-dead", "release"), changes=True)


def _of_superseded(group: DeadGroup, blocked: Sequence[Waiting]) -> tuple[str, Command] | None:
    """Return how to go on if the group is failures that a success behind them supersedes."""
    released = {one.blocker_type for one in blocked} if all(map(_is_superseded, blocked)) else set()
    return _RELEASE if released and released >= {*group.event_types} else None


def _of_error(group: DeadGroup) -> tuple[str, Command]:
    """Return what to do before a replay, and the replay. An event that must die again is not replayed."""
    code = (group.error or "").partition(":")[0]
    replay = Command(("replay",), (), ("--failed", "--error-group", group.group), changes=True, rows=group.events)
    shown = show(group.id)
    topics = ", ".join(sorted({TOPICS.get(name, name) for name in group.event_types}))
    if code in _CODES_OF_SIZE and group.payload_bytes + _HEADERS > LARGEST_MESSAGE:
        largest = f"{size(group.payload_bytes)}, and payctl sends at most {size(LARGEST_MESSAGE)}"
        return f"do not replay: the payload has {largest}; see which payment it is", shown
    if code in _CODES_OF_SIZE:
        return f"raise max.message.bytes of {topics} to {size(group.payload_bytes + _HEADERS)} or more, then", replay
    if any(name not in TOPICS for name in group.event_types):
        return f"do not replay: no topic is known for {topics}; see who wrote it", shown
    return "remove the cause, then", replay


def _of_blocked(evidence: Evidence, blocked: Sequence[Waiting]) -> Cause:
    oldest = max(blocked, key=lambda one: one.oldest_s)
    events = max(evidence.blocked, total(blocked))
    if events == 1:
        fact = f"event {oldest.id} waits behind dead event {oldest.blocker} of its payment"
    else:
        fact = f"{events:,} events wait behind a dead event of their payment; {oldest.id} waits behind {oldest.blocker}"
    if all(map(_is_superseded, blocked)):
        meaning = f"the dead {oldest.blocker_type} is superseded by the success behind it: do not replay it"
        return Cause(CauseKind.BLOCKED, events, fact, meaning, *_RELEASE)
    meaning = "an event is sent only after the earlier events of its payment"
    return Cause(CauseKind.BLOCKED, events, fact, meaning, "deal with the dead event first", show(oldest.blocker or ""))


def _is_superseded(blocked: Waiting) -> bool:
    return blocked.event_type == "PAYMENT_COMPLETED" and blocked.blocker_type in {"PAYMENT_FAILED", "PAYMENT_CANCELLED"}
