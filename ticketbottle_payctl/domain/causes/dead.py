"""Report dead events, and the events that wait behind them, as causes. Advise a replay only if it can help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ticketbottle_payctl.domain.causes.cause import Cause, CauseKind, Command
from ticketbottle_payctl.domain.causes.evidence import DeadGroup, Evidence, Reason, Waiting
from ticketbottle_payctl.domain.causes.words import named, replay_options, show, total
from ticketbottle_payctl.domain.event import FAILURES, TOPICS
from ticketbottle_payctl.domain.message_size import (
    ERRORS_OF_SIZE,
    LARGEST_MESSAGE,
    is_small_enough_now,
    size_words,
    topic_limit,
)
from ticketbottle_payctl.domain.unknown_types import is_unknown, what_to_do
from ticketbottle_payctl.formats import count, short_id


def of_paid_orders(evidence: Evidence) -> Iterator[Cause]:
    """Yield a cause if paid orders wait for a ticket because of a dead event."""
    number, oldest, unknown = evidence.paid_orders
    if not number:
        return
    waits, them = ("1 paid order waits", "it") if number == 1 else (f"{number:,} paid orders wait", "the oldest order")
    more = f" and {number - len(oldest):,} more" if number > len(oldest) else ""
    fact = f"{waits} for a ticket behind a dead event: {', '.join(oldest)}{more}"
    meaning = "no ticket can be issued before the PAYMENT_COMPLETED event is sent"
    if unknown:
        some = (
            ("the order has" if number == 1 else "these orders have")
            if unknown == number
            else (f"{unknown:,} of them {'has' if unknown == 1 else 'have'}")
        )
        only = f"{some} no success event that payctl knows, and the dead event has an unknown type"
        meaning = only if unknown == number else f"{meaning}; {only}"
    yield Cause(CauseKind.NO_TICKET, number, fact, meaning, f"look at {them}", show(oldest[0]))


def of_dead(evidence: Evidence) -> Iterator[Cause]:
    """Yield a cause for each group of dead events, and causes for blocked events and for harmless events."""
    by_debezium = evidence.slot_active is not None  # if so, no event is blocked, and replayed events are not sent
    blocked = [one for one in evidence.waiting if one.reason is Reason.BLOCKED and not by_debezium]
    unseen = evidence.blocked and not blocked  # no other cause mentions the blocked events
    groups = [group for group in evidence.dead_groups if not _is_only_in_the_way(group, blocked)]
    for group in groups:
        dead = group.events - group.harmless
        if not dead:
            continue
        verb = "is" if dead == 1 else "are"
        fact = f"{count(dead, 'event')} {verb} dead: {group.error or 'no error was recorded'}"
        meaning = f"{_NOT_SENT}, and a dead event blocks the later events of its payment" if unseen else _NOT_SENT
        meaning += _left_out(group, dead)
        unknown = not evidence.superseded  # also true if the role cannot read the payments
        advice, command = (_of_superseded(group, blocked) if unknown else None) or _of_error(group)
        if by_debezium and not _is_unknown(group):
            advice, command = "do not replay: payctl does not publish here; look at the payment", show(group.id)
        yield Cause(CauseKind.DEAD, dead, fact, meaning, advice, command)
    rest = evidence.dead - sum(group.events for group in evidence.dead_groups)
    rest -= max(0, evidence.harmless - sum(group.harmless for group in evidence.dead_groups))
    if rest > 0:
        fact = f"{count(rest, 'more dead event')} with other errors"
        yield Cause(
            CauseKind.DEAD,
            rest,
            fact,
            "each dead event blocks the later events of its payment" if unseen else _NOT_SENT,
            None,
            Command(("errors",)),
        )
    if blocked:
        yield _of_blocked(evidence, blocked, with_error=groups != [*evidence.dead_groups])
    if evidence.harmless > evidence.superseded_closed:
        yield _of_harmless(evidence)


def harmless(evidence: Evidence) -> tuple[int, int]:
    """Return the number of harmless dead events, and how many of them a person has closed."""
    return evidence.harmless, evidence.superseded_closed


_ALREADY_SENT = "another event of the payment has already reported the success, so no customer waits for this event"
_NOT_SENT = "publishers never send dead events"
_RELEASE = (
    "skip the dead failure and send the success",
    Command(("publish-outbox",), options=("--on-dead", "release"), changes=True),
)


def _of_harmless(evidence: Evidence) -> Cause:
    """Return the cause for harmless events. The advice is to close the oldest event."""
    number, ids = evidence.harmless - evidence.superseded_closed, evidence.superseded_ids
    repeated = evidence.superseded_repeated
    if number == 1:
        orders = evidence.superseded_orders or (None,)
        why = "repeats a success that was sent" if repeated else "is superseded"
        fact = f"1 dead event is harmless: {', '.join(map(named, ids, orders))} {why}"
        meaning = "the customer has paid since, so no publisher and no replay sends this event"
        meaning = _ALREADY_SENT if repeated else meaning
        advice = "to end this warning, record that no customer is waiting for this event"
    else:
        fact = f"{number:,} dead events are harmless: {_why_harmless(number - repeated, repeated)}"
        meaning = "the customers have paid since, so no publisher and no replay sends these events"
        meaning = "no customer waits for them" if repeated else meaning
        advice = "to end this warning, record that no customer is waiting for these events; begin with the oldest"
    return Cause(CauseKind.SUPERSEDED, number, fact, meaning, advice, Command(("close",), tuple(ids[:1]), changes=True))


def _why_harmless(superseded: int, repeated: int) -> str:
    """Return the reasons why two or more dead events are harmless."""
    if not repeated:
        return "they are superseded"
    if not superseded:
        return "they repeat a success that was sent"
    are, repeat = "is" if superseded == 1 else "are", "repeats" if repeated == 1 else "repeat"
    return f"{superseded:,} {are} superseded, and {repeated:,} {repeat} a success that was sent"


def _of_superseded(group: DeadGroup, blocked: Sequence[Waiting]) -> tuple[str, Command] | None:
    """Return the advice to release the blocked events, or None unless superseded events block all of them."""
    released = {one.blocker_type for one in blocked} if all(map(_is_superseded, blocked)) else set()
    return _RELEASE if released and released >= {*group.event_types} else None


def _of_error(group: DeadGroup) -> tuple[str, Command]:
    """Return the advice for a group, with a replay command if a replay can help, or else a show command."""
    code = (group.error or "").partition(":")[0]
    rows = group.replayable
    replay = Command(("replay",), (), replay_options(group.group, dead=True), changes=True, rows=rows)
    shown = show(group.id)
    if _is_unknown(group):
        return f"{what_to_do(group.event_types)}; {'the' if group.unknown == 1 else 'one such'} event is", shown
    if not rows and group.too_large:
        smaller = "ask the payment service's team to make the payload smaller"
        return f"do not replay: {_too_large(group)}; {smaller}; look at the payment", shown
    if not rows:
        return (
            "do not replay: the customer has paid since then; look at the payment",
            shown,
        )
    types = group.replay_types or group.event_types
    topics = ", ".join(sorted({TOPICS[name] for name in types if not is_unknown(name)}))
    if is_small_enough_now(group.error, group.message_bytes):
        return _smaller_now(group), replay
    if code in ERRORS_OF_SIZE:
        size, limit = size_words(group.message_bytes, rows), topic_limit(group.message_bytes)
        raised = f"raise max.message.bytes of {topics} to {limit:,} or more, because {size}, then"
        others = "the other" if rows == 1 else "the others"
        return f"{_too_large(group)}; for {others}, {raised}" if group.too_large else raised, replay
    return "remove the cause, then", replay


def _too_large(group: DeadGroup) -> str:
    """Return a phrase that says how many of the group's messages are too large for payctl."""
    if group.events == 1:
        return f"{size_words(group.message_bytes, 1)}, and payctl sends at most {LARGEST_MESSAGE:,}"
    are = "is" if group.too_large == 1 else "are"
    dead = group.events - group.harmless
    return f"{group.too_large:,} of {dead:,} {are} larger than the {LARGEST_MESSAGE:,} bytes that payctl sends"


def _smaller_now(group: DeadGroup) -> str:
    """Return the advice for messages that payctl itself refused, and that are small enough for it now."""
    if group.too_large:
        others = "the other is smaller now, so requeue it"
        others = others if group.replayable == 1 else "the others are smaller now, so requeue them"
        return f"{_too_large(group)}; {others}"
    if group.replayable == 1:
        return "the message is smaller now, so requeue the event"
    return "the messages are smaller now, so requeue the events"


def _left_out(group: DeadGroup, dead: int) -> str:
    """Return a phrase that counts the events that a replay leaves out, or an empty string for none or all events."""
    kinds = ((group.unknown, "of an unknown type"), (group.blocking, "superseded"), (group.too_large, "too large"))
    number = sum(each for each, _ in kinds)
    if not group.replayable or not number:
        return ""
    reasons = ", ".join(f"{each:,} {kind}" for each, kind in kinds if each)
    return f"; {number:,} of {dead:,} {'is' if number == 1 else 'are'} left out of a replay: {reasons}"


def _is_unknown(group: DeadGroup) -> bool:
    """Return whether a replay leaves out all events of the group, and at least one has an unknown type."""
    return 0 < group.unknown == group.events - group.superseded


def _is_only_in_the_way(group: DeadGroup, blocked: Sequence[Waiting]) -> bool:
    """Return whether the cause about blocked events already covers this group of superseded failures."""
    return group.superseded == group.events and _of_superseded(group, blocked) is not None


def _of_blocked(evidence: Evidence, blocked: Sequence[Waiting], *, with_error: bool) -> Cause:
    oldest = max(blocked, key=lambda one: one.oldest_s)
    events = max(evidence.blocked, total(blocked))
    event, blocker = named(oldest.id, oldest.order_code), oldest.blocker or ""
    if oldest.order_code:  # both events belong to this order
        blocker = short_id(blocker)
    if events == 1 and oldest.order_code:
        fact = f"{event} waits behind dead event {blocker}"
    elif events == 1:
        fact = f"event {event} waits behind dead event {blocker} of its payment"
    else:
        fact = (
            f"{events:,} events wait behind a dead event of their payment; for example, {event} waits behind {blocker}"
        )
    if all(map(_is_superseded, blocked)):
        error = f" ({oldest.error})" if with_error and oldest.error else ""
        meaning = f"a later success supersedes the dead {oldest.blocker_type}{error}: do not replay it"
        return Cause(CauseKind.BLOCKED, events, fact, meaning, *_RELEASE)
    meaning = "an event is sent only after the earlier events of its payment"
    return Cause(CauseKind.BLOCKED, events, fact, meaning, "resolve the dead event first", show(oldest.blocker or ""))


def _is_superseded(blocked: Waiting) -> bool:
    return blocked.event_type == "PAYMENT_COMPLETED" and blocked.blocker_type in FAILURES
