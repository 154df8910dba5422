"""Describe dead events, and the customers who are waiting for them."""

from __future__ import annotations

from collections.abc import Sequence

from ticketbottle_payctl.cli.commands.publish_outbox.obstacle_words import Reading, names_backlog
from ticketbottle_payctl.cli.output.result import Block, Line, accent, dim, line
from ticketbottle_payctl.domain.causes.words import named
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.publish_outbox import BlockReason, DeadEvent, Obstacles
from ticketbottle_payctl.store.outbox.unsent_successes import NONE_UNSENT, UnsentSuccesses


def customers_in_words(unsent: UnsentSuccesses) -> list[str]:
    """Return how many paying customers are waiting for dead events. The list is empty if no customer is waiting."""
    if not unsent.customers:
        return []
    waits, them = ("waits", "a dead event") if unsent.customers == 1 else ("wait", "dead events")
    return [f"{count(unsent.customers, 'paying customer')} {waits} for {them}"]


def unknown_in_words(unsent: UnsentSuccesses) -> list[str]:
    """Return how many dead events have an unknown type. The list is empty if no dead event has an unknown type."""
    if not unsent.unknown:
        return []
    return [f"{count(unsent.unknown, 'event')} of an unknown type {'is' if unsent.unknown == 1 else 'are'} dead"]


def unsent_words(unsent: UnsentSuccesses) -> str:
    """Return a sentence that lists the oldest dead events of paying customers, and counts the others."""
    names = ", ".join(named(each.id, each.order_code) for each in unsent.oldest)
    more = unsent.events - len(unsent.oldest)
    if unsent.events == 1:
        return f"{names} is dead, and a paying customer waits for it"
    return f"{names}{f' and {more:,} more' if more else ''} are dead, and paying customers wait for them"


def dead_blocks(obstacles: Obstacles, new: Sequence[DeadEvent], reading: Reading, *, died: int) -> list[Block]:
    """Return the lines about the dead events that no other line mentions, and the commands that show more.

    ``new`` are events that died in this run, and ``died`` is the number of all such events.
    """
    # The table lists the events that died in this run. The line about customers follows only if they wait for others.
    # The events that block others are named above, and are not among the unsent ones.
    blocking = {each.event_id for each in obstacles.blockers}
    listed = sum(each.event_type == "PAYMENT_COMPLETED" and each.id not in blocking for each in new)
    unsent = obstacles.unsent if obstacles.unsent.events > listed else NONE_UNSENT
    named_above = any(each.reason in {BlockReason.DEAD, BlockReason.FAILED} for each in obstacles.blockers)
    blocks: list[Block] = [Line((f"  {unsent_words(unsent)}",))] if unsent.events else []
    told = bool(unsent.events or obstacles.unsent.unknown or (died and not named_above))
    if told:
        blocks.append(line(dim("  next:"), accent(reading(["errors"]))))
    if named_above:
        return blocks
    left = 0 if died else obstacles.dead_failures - obstacles.dead_closed
    if not left:
        return blocks
    one, them = left == 1, "it" if left == 1 else "them"
    which, is_left = "other dead event" if told else "dead event", "is left" if one else "are left"
    if not obstacles.unsent.behind:
        blocks.append(line(f"  {count(left, which)} {is_left}; no paying customer is waiting for {them}"))
    if not told and not names_backlog(obstacles):
        blocks.append(line(dim("  next:"), accent(reading(["doctor"], (), ["--only", "backlog"]))))
    return blocks
