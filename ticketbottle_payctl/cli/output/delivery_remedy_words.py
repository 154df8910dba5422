"""Describe what the operator must fix before replaying a dead event."""

from __future__ import annotations

from collections.abc import Sequence

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE, size_words, topic_limit
from ticketbottle_payctl.domain.unknown_types import what_to_do

_SENTENCES = {
    DeliveryRemedy.RAISE_TOPIC_LIMIT: "raise max.message.bytes of {topic} to {limit} or more, because {size}",
    DeliveryRemedy.SHRINK_PAYLOAD: "ask the payment service's team to make the payload smaller: {size}, and payctl "
    "sends at most {largest}",
    DeliveryRemedy.REPAIR_RECORD: "fix the settings of {topic} or the payload",
}


def remedy_sentence(remedy: DeliveryRemedy, event_types: Sequence[str], message_bytes: int, *, events: int = 1) -> str:
    """Return a sentence that says what to fix for events of these types, whose messages have at most this size."""
    if remedy is DeliveryRemedy.KNOW_EVENT_TYPE:
        return what_to_do(event_types)
    topics = sorted({TOPICS[each] for each in event_types if each in TOPICS})
    words = {"topic": ", ".join(topics) or "its topic"}
    limit = topic_limit(message_bytes)
    sizes = {"size": size_words(message_bytes, events), "limit": f"{limit:,}", "largest": f"{LARGEST_MESSAGE:,}"}
    until = "a replayed event becomes dead again"
    if remedy is DeliveryRemedy.SHRINK_PAYLOAD:
        until = f"a replay leaves the {'event' if events == 1 else 'events'} out"
    return f"{_SENTENCES[remedy].format_map(words | sizes)}; until then, {until}"
