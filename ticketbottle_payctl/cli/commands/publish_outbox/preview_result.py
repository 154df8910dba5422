"""Build the result of a publisher's dry run, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence

from ticketbottle_payctl.cli.commands.publish_outbox.dead_words import dead_blocks, unknown_in_words
from ticketbottle_payctl.cli.commands.publish_outbox.obstacle_words import Reading, causes
from ticketbottle_payctl.cli.commands.publish_outbox.result import SCHEMA
from ticketbottle_payctl.cli.output.result import Block, Line, Result, Table, bold, dim, line, warn
from ticketbottle_payctl.domain.causes import LateFailures
from ticketbottle_payctl.domain.causes.late_failures import of_late_failures
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.domain.unknown_types import is_unknown, what_to_do
from ticketbottle_payctl.formats import command_line, count
from ticketbottle_payctl.jobs.publish_outbox import Preview
from ticketbottle_payctl.jobs.publish_outbox.facts import ClaimableItem, PublishedEvents

_MOST_NAMED = 3
_MAKE_SMALLER = f"ask the payment service's team for smaller payloads: payctl sends at most {LARGEST_MESSAGE:,} bytes"


def result_of_preview(
    preview: Preview, late: LateFailures, apply: str | None, reading: Reading = command_line
) -> Result:
    """Return the result of a dry run, with the events that would be published, die or be held back. The exit code is 0.

    ``apply`` is the command that publishes these events, or None if the user's command cannot be repeated. It is not
    shown if no event would be published, or if a failure event would be sent after the success of its payment.
    """
    waiting, obstacles, large = preview
    total, held = sum(row.events for row in waiting), obstacles.held
    rows: list[ClaimableItem] = [
        {
            "event_type": row.event_type,
            "topic": TOPICS.get(row.event_type),
            "events": row.events,
            "held": obstacles.held_by_type.get(row.event_type, 0),
            "oldest": row.oldest,
        }
        for row in waiting
    ]
    dying = sum(row["events"] - row["held"] for row in rows if is_unknown(row["event_type"]))
    published = total - held - dying - len(large)
    words = ["would be published"]
    words += [f"{dying:,} would die: unknown type"] if dying else []
    words += [f"{len(large):,} would die: too large"] if large else []
    words += [f"{held:,} would be held back"] if held else []
    human: list[Block] = [line(bold(count(published, "event")), ", ".join(words))]
    if rows:
        human.append(Table(("event type", "topic", "events", "held back", "oldest"), tuple(map(_cells, rows))))
    human += [Line((f"  {_too_large_words(large)}",))] if large else []
    human += causes(obstacles, reading)
    human += [Line((f"  {words}",)) for words in unknown_in_words(obstacles.unsent)]
    human += dead_blocks(obstacles, (), reading, died=0)
    human += [line(dim("to do:"), what_to_do(row["event_type"] for row in rows))] if dying else []
    human += [line(dim("to do:"), _MAKE_SMALLER)] if large else []
    risks = [cause.fact for cause in of_late_failures(late)]
    command = reading(["stats"]) if risks else apply if published else None
    next_step = f". {'Before you publish' if risks else 'To apply it'}:" if command else ""
    human.append(line(warn("dry run:"), f"nothing was changed{next_step}"))
    human += [line(f"  {command}")] if command else []
    counts: PublishedEvents = {
        "claimed": total - held, "published": 0, "retried": 0,
        "dead": dying + len(large), "held": held, "pending": total,
    }  # fmt: skip
    facts = {
        "blocked_by": [each.facts for each in obstacles.blockers],
        "locked_by": [each.facts for each in obstacles.locked],
    }
    return Result(SCHEMA, counts=counts, result=facts, items=rows, human=human, warnings=risks, dry_run=True)


def _cells(row: ClaimableItem) -> tuple[object, ...]:
    topic = row["topic"] or "none: would die"
    return row["event_type"], topic, row["events"] - row["held"], row["held"], row["oldest"]


def _too_large_words(large: Sequence[str]) -> str:
    """Return a sentence that lists the oldest events whose messages are too large, and counts the others."""
    names, more = ", ".join(large[:_MOST_NAMED]), len(large) - _MOST_NAMED
    whose = "its message is" if len(large) == 1 else "their messages are"
    also = f" and {more:,} more" if more > 0 else ""
    return f"{names}{also} would die: {whose} larger than {LARGEST_MESSAGE:,} bytes"
