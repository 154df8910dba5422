"""Build the result of a publisher's dry run, as JSON and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ticketbottle_payctl.cli.commands.publish_outbox.dead_words import dead_blocks, unknown_in_words
from ticketbottle_payctl.cli.commands.publish_outbox.obstacle_words import Reading, causes
from ticketbottle_payctl.cli.commands.publish_outbox.result import SCHEMA
from ticketbottle_payctl.cli.output.result import Block, Line, Result, Table, bold, dim, line, warn
from ticketbottle_payctl.domain.causes import Evidence
from ticketbottle_payctl.domain.causes.late_failures import of_late_failures
from ticketbottle_payctl.domain.causes.stopped import of_table_locks
from ticketbottle_payctl.domain.causes.words import named
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.domain.unknown_types import is_unknown, what_to_do
from ticketbottle_payctl.formats import command_line, count
from ticketbottle_payctl.jobs.find_risks import Risks
from ticketbottle_payctl.jobs.publish_outbox import Preview
from ticketbottle_payctl.jobs.publish_outbox.facts import ClaimableItem, PublishedEvents
from ticketbottle_payctl.store.outbox.held import Unsendable

_MOST_NAMED = 3
_MAKE_SMALLER = f"ask the payment service's team for smaller payloads: payctl sends at most {LARGEST_MESSAGE:,} bytes"


def result_of_preview(preview: Preview, risks: Risks, apply: str | None, reading: Reading = command_line) -> Result:
    """Return the result of a dry run, with the events that would be published, die or be held back. The exit code is 0.

    ``apply`` is the command that publishes these events, or None if the user's command cannot be repeated. It is not
    shown if no event would be published, if a failure event would be sent after the success of its payment, or if
    another session has locked the whole outbox.
    """
    waiting, obstacles, dying = preview
    unknown = [each for each in dying if is_unknown(each.event_type)]
    large = [each for each in dying if not is_unknown(each.event_type)]
    of_type = Counter(each.event_type for each in dying)
    total, held = sum(row.events for row in waiting), obstacles.held
    rows: list[ClaimableItem] = [
        {
            "event_type": row.event_type,
            "topic": TOPICS.get(row.event_type),
            "events": row.events,
            "held": obstacles.held_by_type.get(row.event_type, 0),
            "would_die": of_type[row.event_type],
            "oldest": row.oldest,
        }
        for row in waiting
    ]
    published = total - held - len(dying)
    words = ["would be published"]
    words += [f"{len(unknown):,} would die: unknown type"] if unknown else []
    words += [f"{len(large):,} would die: too large"] if large else []
    words += [f"{held:,} would be held back"] if held else []
    human: list[Block] = [line(bold(count(published, "event")), ", ".join(words))]
    human += [_table(rows)] if rows else []
    human += [Line((f"  {said}",)) for said in _deaths(unknown, large)]
    human += causes(obstacles, reading)
    human += [Line((f"  {words}",)) for words in unknown_in_words(obstacles.unsent)]
    human += dead_blocks(obstacles, (), reading, died=0)
    human += [line(dim("to do:"), what_to_do(each.event_type for each in unknown))] if unknown else []
    human += [line(dim("to do:"), _MAKE_SMALLER)] if large else []
    locks = Evidence(pending=total, table_locks=risks.table_locks if total else ())
    warnings = [cause.fact for cause in (*of_late_failures(risks.late_failures), *of_table_locks(locks))]
    command = reading(["stats"]) if warnings else apply if published else None
    next_step = f". {'Before you publish' if warnings else 'To apply it'}:" if command else ""
    human.append(line(warn("dry run:"), f"nothing was changed{next_step}"))
    human += [line(f"  {command}")] if command else []
    counts: PublishedEvents = {
        "claimed": total - held, "published": 0, "retried": 0,
        "dead": len(dying), "held": held, "pending": total,
    }  # fmt: skip
    facts = {
        "blocked_by": [each.facts for each in obstacles.blockers],
        "locked_by": [each.facts for each in obstacles.locked],
    }
    return Result(SCHEMA, counts=counts, result=facts, items=rows, human=human, warnings=warnings, dry_run=True)


def _table(rows: Sequence[ClaimableItem]) -> Table:
    """Return a row for each type. Each event counts in one of the columns ``publish``, ``would die`` and ``held back``.

    The column ``would die`` is left out if no event would die.
    """
    dying = any(row["would_die"] for row in rows)
    columns = ("event type", "topic", "publish", *(["would die"] if dying else []), "held back", "oldest")
    return Table(columns, tuple(tuple(_cells(row, dying=dying)) for row in rows), spare=("oldest",) if dying else ())


def _cells(row: ClaimableItem, *, dying: bool) -> Iterator[object]:
    held, dies = row["held"], row["would_die"]
    yield from (row["event_type"], row["topic"] or "none", row["events"] - held - dies)
    yield from (dies, held, row["oldest"]) if dying else (held, row["oldest"])


def _deaths(unknown: Sequence[Unsendable], large: Sequence[Unsendable]) -> Iterator[str]:
    """Yield a sentence for each reason why events would die. It names the oldest events, and counts the others."""
    if unknown:
        types = sorted({each.event_type for each in unknown})
        more = f" and {len(types) - _MOST_NAMED:,} more" if len(types) > _MOST_NAMED else ""
        known = f"{'type' if len(types) == 1 else 'types'} {', '.join(types[:_MOST_NAMED])}{more}"
        yield f"{_named(unknown)} would die: payctl does not know the event {known}"
    if large:
        whose = "its message is" if len(large) == 1 else "their messages are"
        yield f"{_named(large)} would die: {whose} larger than {LARGEST_MESSAGE:,} bytes"


def _named(events: Sequence[Unsendable]) -> str:
    more = len(events) - _MOST_NAMED
    names = ", ".join(named(each.position[1], each.order_code) for each in events[:_MOST_NAMED])
    return f"{names} and {more:,} more" if more > 0 else names
