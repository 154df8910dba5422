"""What to do about the events of a group before a replay."""

from __future__ import annotations

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy, remedy_of
from ticketbottle_payctl.cli.output.delivery_remedy_words import remedy_sentence
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE, is_small_enough_now
from ticketbottle_payctl.domain.unknown_types import what_to_do
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup


def first_remedy(group: ErrorGroup) -> DeliveryRemedy | None:
    """Return what to fix before the replay of a group, or None if nothing needs a fix."""
    return remedy_of(group.sample, group.sample_type, group.message_bytes)


def todo(group: ErrorGroup) -> str | None:
    """Return what to do before a replay as a sentence. In a mixed group, say how many events each step is for."""
    if group.is_closed:
        return None
    steps = (
        (group.open_unknown, what_to_do(group.open_types) if group.open_unknown else None),
        (group.too_large, _shrink(group)),
        (group.replayable, _before_replay(group)),
    )
    said = [f"{_for(number, group)}{step}" for number, step in steps if number and step]
    return "; ".join(said) or None


def _before_replay(group: ErrorGroup) -> str | None:
    """Return what to do before the replay of the events that it does not leave out, or None."""
    remedy = first_remedy(group) if group.replayable else None
    if remedy is None:
        return None
    return remedy_sentence(remedy, group.replay_types, group.message_bytes, events=group.replayable)


def _shrink(group: ErrorGroup) -> str | None:
    """Return what to do about the events that are too large for payctl, or None if there are none."""
    if not group.too_large:
        return None
    return remedy_sentence(DeliveryRemedy.SHRINK_PAYLOAD, (), group.too_large_bytes, events=group.too_large)


def too_large(group: ErrorGroup) -> str | None:
    """Return how many events are too large for payctl, or None. In a mixed group, also say what to do about them."""
    if not group.too_large:
        return None
    limit = f"payctl sends at most {LARGEST_MESSAGE:,} bytes"
    return f"{group.too_large:,} of {group.count:,}: {limit if group.too_large == group.count else _shrink(group)}"


def _for(number: int, group: ErrorGroup) -> str:
    """Return a phrase that says how many of the group's events a step is for, or an empty string for all of them."""
    return "" if number == group.count else f"for {number:,} of {group.count:,}, "


def first_step(group: ErrorGroup) -> str | None:
    """Return what to do before a replay, or say that the refused messages are smaller now and nothing is to do."""
    if group.is_closed:
        return None
    rest = group.replayable
    if rest and is_small_enough_now(group.sample, group.message_bytes):
        smaller = "the message is" if rest == 1 else "the messages are"
        step: str | None = f"nothing, because {smaller} smaller now"
    elif group.too_large == group.count:
        step = _shrink(group)
    else:
        step = _before_replay(group)
    return f"{_for(rest or group.count, group)}{step}" if step else None
