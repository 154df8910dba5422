"""Read event ids from JSON lists, from messages of the dead-event queue, and from envelopes around such messages.

The ``publish-outbox`` function sends the id of each newly dead event to an SQS queue, and a message to an SNS topic.
The input can be the output of ``aws sqs receive-message``, a function's event, or the text of an email.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ticketbottle_payctl.errors import InputError

_DEEPEST = 6
_LISTS = ("Messages", "Records", "items")
_ENVELOPES = ("Body", "body", "Message", "Sns")
_IDS = ("id", "event_id", "eventId")
_ALERT = re.compile(r"^kind: event_dead$", re.MULTILINE)
_ALERT_ID = re.compile(r"^event_id: (.+)$", re.MULTILINE)
_ALERT_EVENTS = re.compile(r"^events: (\d{1,9})$", re.MULTILINE)


def ids_in(value: object, where: str, depth: int = 0) -> Iterator[str]:
    """Yield the ids in a JSON value. Summaries and empty lists do not contain ids.

    Raises:
        InputError: an object does not contain an id, or the list is incomplete.
    """
    if depth > _DEEPEST:
        raise _no_id(where)
    if isinstance(value, list):
        for each in value:
            yield from ids_in(each, where, depth + 1)
    elif isinstance(value, dict):
        yield from _of_object(value, where, depth)
    elif isinstance(value, str):
        yield from _of_text(value, where, depth)
    else:
        raise _no_id(where)


def is_alert(text: str) -> bool:
    """Return whether ``text`` is an alert about dead events, as sent to the SNS topic."""
    return _ALERT.search(text) is not None


def ids_of_alert(text: str, where: str) -> Iterator[str]:
    """Yield the id in an alert about a dead event.

    Raises:
        InputError: the alert is about several events, but contains only the first event's id.
    """
    events = _ALERT_EVENTS.search(text)
    if events is not None and int(events[1]) > 1:
        message = f"{where} is about {int(events[1]):,} dead events but names only one"
        raise InputError(message, hint="`payctl errors --failed` shows all of them, with the command that replays them")
    found = _ALERT_ID.search(text)
    if found is None:
        raise _no_id(where)
    yield found[1].strip()


def _of_object(value: Mapping[str, object], where: str, depth: int) -> Iterator[str]:
    if value.get("type") == "summary" or isinstance(value.get("items"), list):
        _check_whole(value, where)
    if value.get("type") == "summary":
        return
    named = next((value[name] for name in _IDS if isinstance(value.get(name), str) and value[name]), None)
    inner = next((value[name] for name in (*_LISTS, *_ENVELOPES) if name in value), None)
    if isinstance(named, str):
        yield named
    elif inner is not None:
        yield from ids_in(inner, where, depth + 1)
    else:
        raise _no_id(where)


def _of_text(text: str, where: str, depth: int) -> Iterator[str]:
    """Yield the ids in an envelope's text, which is JSON or an alert."""
    if is_alert(text):
        yield from ids_of_alert(text, where)
        return
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_id(where) from error
    yield from ids_in(inner, where, depth + 1)


def _check_whole(summary: Mapping[str, object], where: str) -> None:
    """Raise an error if this summary says that the list before it is incomplete.

    Raises:
        InputError: not all rows were listed, or the listing ended with an error.
    """
    if summary.get("truncated"):
        message = f"{where} says that the list is incomplete: more rows match than were listed"
        raise InputError(message, hint="list with --all or a larger --limit")
    if summary.get("error"):
        message = f"{where} says that the listing ended with an error"
        raise InputError(
            message, hint="run the list command again, and check the exit code of the first command in the pipe"
        )


def _no_id(where: str) -> InputError:
    return InputError(f"{where} has no event id")
