"""Describe why events wait, and suggest the next commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ticketbottle_payctl.cli.output.result import Block, Line, bold, dim, line
from ticketbottle_payctl.domain.causes.words import named
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.publish_outbox import Blocker, BlockReason, Obstacles

_MOST_TOLD = 10
_SHOWN = frozenset({BlockReason.DEAD, BlockReason.FAILED, BlockReason.WOULD_DIE})
"""The reasons whose blocking event ``payctl show`` explains."""


class Reading(Protocol):
    """A function that returns a command for a person to paste, such as :meth:`Adviser.reading`."""

    def __call__(self, verb: Sequence[str], operands: Sequence[str] = (), options: Sequence[str] = ()) -> str:
        """Return the command."""
        ...


def causes(obstacles: Obstacles, reading: Reading) -> list[Block]:
    """Return a line for each cause, then the commands to run next.

    The cause that holds back the most events comes first. ``reading`` builds the commands.
    """
    told = obstacles.blockers[:_MOST_TOLD]
    lines: list[Block] = [Line((f"  {sentence(each)}",)) for each in told]
    more = obstacles.causes - len(told)
    if more > 0:
        lines.append(line(dim(f"  and {count(more, 'more cause')}; payctl errors groups them")))
    return lines + [line(dim("  next:"), bold(command)) for command in _next(obstacles, told, reading)]


def sentence(blocker: Blocker) -> str:
    """Return a sentence that says how many events are waiting, what they are waiting for, and why."""
    waiting = f"{count(blocker.events, 'event')} {'waits' if blocker.events == 1 else 'wait'}"
    detail = f": {blocker.detail}" if blocker.detail else ""
    event = named(blocker.event_id or "", blocker.order_code)
    match blocker.reason:
        case BlockReason.FAILED:
            behind = f"; {waiting} behind it" if blocker.events else ""
            return f"event {event} failed in this run{detail}{behind}"
        case BlockReason.WOULD_DIE:
            waiting = f"{count(blocker.events, 'event')} would wait"
            why = f"behind event {event}, which would die: {_why_it_would_die(blocker.event_type)}"
        case BlockReason.DEAD:
            why = f"behind the dead event {event}{detail}"
        case BlockReason.RETRY_LATER:
            why = f"for the retry of event {event}, due in {duration(blocker.retry_in_s or 0)}{detail}"
        case BlockReason.TOPIC:
            topic = TOPICS.get(blocker.event_type or "", blocker.event_type)
            why = f"for topic {topic}, which cannot be written to{detail}"
        case BlockReason.ROW_LOCKED:
            why = f"for the row of event {event}, which {blocker.detail or 'another database session'} has locked"
        case BlockReason.OTHER_TYPE:
            why = f"behind event {event} of type {blocker.event_type}, which --type leaves out"
    return f"{waiting} {why}"


def _why_it_would_die(event_type: str | None) -> str:
    if event_type in TOPICS:
        return f"its message is larger than {LARGEST_MESSAGE:,} bytes"
    return f"payctl does not know its type {event_type}"


def reasons(obstacles: Obstacles) -> list[str]:
    """Return a sentence for each cause. An unusable topic is a cause even if no event is waiting for it."""
    said = [obstacles.away.message] if obstacles.away else []
    if obstacles.locked:
        said.append(locked_words(obstacles))
    waiting = {each.event_type for each in obstacles.blockers if each.reason is BlockReason.TOPIC}
    said += [sentence(each) for each in obstacles.blockers[:_MOST_TOLD]]
    said += [
        f"topic {TOPICS.get(event_type, event_type)} cannot be written to: {why}"
        for event_type, why in sorted(obstacles.stopped.items())
        if event_type not in waiting
    ]
    return said


def first_words(obstacles: Obstacles) -> str:
    """Return the most important cause as one sentence, or an empty string if there is no cause."""
    return next(iter(reasons(obstacles)), "")


def locked_words(obstacles: Obstacles) -> str:
    """Return a sentence with the held shards and the process that holds them."""
    first = obstacles.locked[0]
    if first.shards == 1:
        return f"another process holds the outbox: {first.holder}"
    numbers = ", ".join(str(each.shard) for each in obstacles.locked)
    return f"another process holds shard {numbers} of {first.shards}: {first.holder}"


def names_backlog(obstacles: Obstacles) -> bool:
    """Return whether the lines about the causes suggest ``payctl doctor --only backlog``."""
    return bool(obstacles.locked_rows or obstacles.lock_timeout)


def _next(obstacles: Obstacles, told: Sequence[Blocker], reading: Reading) -> list[str]:
    """Return the commands that show more about the causes. A user can paste each command."""
    commands = []
    blocking = [each.event_id for each in told if each.reason in _SHOWN and each.event_id]
    if blocking:
        commands.append(reading(["show"], [blocking[0]]))
    if any(each.reason is BlockReason.TOPIC for each in told):
        commands.append(reading(["doctor"], (), ["--only", "kafka"]))
    if names_backlog(obstacles):
        commands.append(reading(["doctor"], (), ["--only", "backlog"]))
    if obstacles.locked:
        commands.append(reading(["doctor"], (), ["--only", "publishers"]))
    return commands
