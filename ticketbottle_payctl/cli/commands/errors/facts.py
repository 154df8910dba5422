"""The JSON output of ``payctl errors``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy
from ticketbottle_payctl.cli.commands.errors.advised import close_command, replay_command
from ticketbottle_payctl.cli.commands.errors.todo import first_remedy, todo
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.facts import Count, Keywords
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector


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

    If a pending failure event would take the tickets of a paid order, or if payctl cannot read whether one would, this
    is a dry run, which sends nothing.
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


def item_of(group: ErrorGroup, selector: Selector, adviser: Adviser, release: str) -> ErrorGroupItem:
    """Return the JSON output for a group."""
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
        "replay": replay_command(group, selector, adviser),
        "release": release if group.blocking else "",
        "superseded": group.superseded,
        "repeated": group.repeated,
        "unknown": group.unknown,
        "too_large": group.too_large,
        "blocking": group.blocking,
        "blocks": group.blocks,
        "closed": group.closed,
        "close": close_command(group, adviser),
        "remedy": first_remedy(group),
        "todo": todo(group),
    }
