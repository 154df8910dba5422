"""Compute the size of a message as the Kafka client counts it before it sends the message.

The client counts the key, the value, the headers and an overhead for each record, before compression. The client
refuses a message that is larger than :data:`LARGEST_MESSAGE`, and does not ask a broker. A broker counts the whole
batch, so the topic's limit must be slightly higher than the message's size.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.event import CONTEXT_HEADERS, Message, constant_headers

LARGEST_MESSAGE = 1_000_000
"""The size of the largest message that payctl sends, in bytes, as :func:`message_bytes` counts it.

A larger event becomes dead.
"""

ERRORS_OF_SIZE = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE", "RECORD_LIST_TOO_LARGE")
"""Kafka's error codes for a message that is too large."""

_REFUSED_BY_CLIENT = "Unable to produce message: "
"""The start of the reason if the Kafka client refused the message before it asked a broker."""

_RECORD = 36
"""The client's overhead for one record. librdkafka calls it RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD."""

_BATCH = 61
"""The size of a record batch without its records."""

_LONGEST_CONTEXT = ("c" * 128, "t" * 55, "r" * 36)
"""Values as long as the longest correlation id, a traceparent and the id of a replay run."""


def message_bytes(message: Message) -> int:
    """Return the size of a message in bytes, without compression."""
    headers = sum(_text_bytes(_octets(name)) + _text_bytes(_octets(value)) for name, value in message.headers)
    return _RECORD + _octets(message.key) + _octets(message.value) + headers


def is_small_enough_now(last_error: str | None, size: int) -> bool:
    """Return whether payctl refused an event's message as too large, although ``size`` is within the limit now."""
    code, _, reason = (last_error or "").partition(": ")
    return code in ERRORS_OF_SIZE and reason.startswith(_REFUSED_BY_CLIENT) and size <= LARGEST_MESSAGE


def length_bytes(octets: int) -> int:
    """Return the size of the number that states the length of a header's name or value."""
    return max(1, -(-(2 * octets).bit_length() // 7))


def topic_limit(size: int) -> int:
    """Return the lowest ``max.message.bytes`` of a topic that accepts a message of this size."""
    return size + _BATCH


def size_words(size: int, events: int) -> str:
    """Return a phrase with the size of the largest message among this number of events.

    The size counts headers that the message may not have.
    """
    return f"the {'message' if events == 1 else 'largest message'} is at most {size:,} bytes long"


def _text_bytes(octets: int) -> int:
    return octets + length_bytes(octets)


def _octets(text: str | bytes | None) -> int:
    return len(text.encode() if isinstance(text, str) else text or b"")


EMPTY_EVENT = message_bytes(
    Message(
        "",
        "",
        "",
        [
            ("id", ""),
            ("eventId", ""),
            *constant_headers("", ""),
            *zip(CONTEXT_HEADERS, _LONGEST_CONTEXT, strict=True),
        ],
    )
)
"""The size of a message whose key, value, event id and types are empty, in bytes.

The size includes the headers for the correlation id, the trace and the replay run, each with its longest value. An
event may lack some of these headers, but not every role can read which headers an event has. Every event counts as
having all three.
"""
