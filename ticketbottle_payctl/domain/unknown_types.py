"""Recognise event types that payctl does not know, and say what to do about their events.

Every command uses :func:`what_to_do`, so that all of them give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ticketbottle_payctl.domain.event import TOPICS

_MOST_NAMED = 3


def is_unknown(event_type: str) -> bool:
    """Return whether payctl does not know this event type. Such an event has no topic, so no publisher sends it."""
    return event_type not in TOPICS


def what_to_do(event_types: Iterable[str], quote: Callable[[str], str] = str) -> str:
    """Return the sentence that says what to do about events of unknown types. Ignore the known types.

    ``quote`` makes a type's name safe for the place where the sentence is shown.
    """
    names = sorted({each for each in event_types if is_unknown(each)})
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    types, them = ("type", "it") if len(names) == 1 else ("types", "them")
    are, event = ("is", "event") if len(names) == 1 else ("are", "events")
    named = ", ".join(map(quote, names[:_MOST_NAMED]))
    return (
        f"the event {types} {named}{more} {are} unknown to payctl, so a replay does not help;"
        f" install a payctl version that knows {them}, or ask the payment service's team to correct the {event}"
    )
