"""Describe the event whose id the operator gave, because the verdict may be about another event of its payment."""

from __future__ import annotations

from datetime import datetime

from ticketbottle_payctl.cli.commands.show.facts import NamedEventFacts
from ticketbottle_payctl.cli.commands.show.verdict_words import ago, closed_by
from ticketbottle_payctl.formats import count, short_id
from ticketbottle_payctl.jobs.order import NamedEvent


def event_sentence(named: NamedEvent, now: datetime) -> str:
    """Return the sentence about the event's own state."""
    event, tries = named.event, count(named.tries, "try", "tries")
    match event.state:
        case "published":
            state = f"was published {ago((now - (event.published_at or event.created_at)).total_seconds())}"
        case "dead":
            state = f"is dead after {tries}"
        case _:
            state = "is blocked by an earlier dead event" if named.blocked else "is pending"
            state += f", and {tries} failed" if named.tries else ""
    superseded = ", superseded" if event.superseded else ""
    superseded += "; harmless, because the payment's success was sent" if event.repeats else ""
    closing = "" if named.closing is None else f"; closed {closed_by(named.closing, now)}"
    return f"the event {short_id(event.id)} ({event.event_type}) {state}{superseded}{closing}"


def named_event_facts(named: NamedEvent, now: datetime) -> NamedEventFacts:
    """Return the event's own state as JSON."""
    return {
        "id": named.event.id,
        "event_type": named.event.event_type,
        "state": named.event.state,
        "blocked": named.blocked,
        "superseded": named.event.superseded,
        "repeats": named.event.repeats,
        "closed": named.closing is not None,
        "closed_by_run": named.closing.id if named.closing else None,
        "text": event_sentence(named, now),
    }
