"""Read ids from a file or stdin: one id per line, another command's ndjson, or messages about dead events."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ticketbottle_payctl.cli.input.bounded_read import read_bounded
from ticketbottle_payctl.cli.input.queue_messages import ids_in, ids_of_alert, is_alert
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.redaction import redact

_LARGEST = 64 * 1024 * 1024
_LONGEST_ID = 200


def named_ids(arguments: list[str] | None, from_file: str | None) -> tuple[str, ...] | None:
    """Return the distinct ids from the arguments, a file or stdin (``-``).

    Return None if neither ids nor a file was given.

    Raises:
        InputError: two sources were given, the file cannot be read or does not contain any ids, or a line is not an id.
    """
    typed = arguments or []
    if from_file is not None and typed:
        message = "ids cannot be combined with --from-file"
        raise InputError(message, hint="give either ids or --from-file")
    if from_file is not None:
        return read_ids(from_file)
    if typed == ["-"]:
        return read_ids("-")
    return tuple(dict.fromkeys(_checked(each, each) for each in typed)) if typed else None


def read_ids(name: str) -> tuple[str, ...]:
    """Return the ids in a file, or in stdin if ``name`` is ``-``. Each line has one id, and ``#`` starts a comment.

    If a line is a JSON object, as in the output of ``-o ndjson``, the object's ``id`` is read. A summary line does not
    contain an id. If the summary line says that more rows exist, the list is refused as incomplete. The file may also
    be one JSON value, or a message about dead events that payctl's functions sent to SQS or SNS
    (:mod:`queue_messages`).

    Raises:
        InputError: the file cannot be read or does not contain any ids, a line is not an id, or the list is incomplete.
    """
    where = "stdin" if name == "-" else name
    try:
        text = read_bounded(name, _LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{where} is not UTF-8"
        raise InputError(message) from error
    ids = tuple(dict.fromkeys(_checked(*each) for each in _found(text, where)))
    if not ids:
        message = f"{where} has no id"
        raise InputError(message, hint="write one id per line, or use `payctl list outbox -o ndjson`")
    return ids


def _found(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Yield each id with its position in the file, which error messages show."""
    if is_alert(text):
        yield from ((each, where) for each in ids_of_alert(text, where))
        return
    whole = _whole(text)
    if whole is not None:
        yield from ((each, where) for each in ids_in(whole, where))
        return
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        place = f"{where}, line {number}"
        if line.startswith("{"):
            yield from ((each, place) for each in ids_in(_json(line, place), place))
        elif line and not line.startswith("#"):
            yield line, place


def _whole(text: str) -> object | None:
    """Return the file's content as one JSON value, such as an array. Return None if the file is not one JSON value."""
    start = text.lstrip()[:1]
    if start != "[" and not (start == "{" and "\n" in text.strip()):
        return None
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def _json(line: str, where: str) -> object:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        message = f"{where} is not JSON"
        raise InputError(message) from error
    return value


def _checked(text: str, where: str) -> str:
    """Return ``text`` if it can be an id. An id may contain spaces, because the payment service chooses the ids.

    A line such as ``MOMO_SECRET_KEY=...`` is refused, because ids are printed and sent to the database.
    """
    if not text.strip() or len(text) > _LONGEST_ID or not text.isprintable() or ("=" in text and redact(text) != text):
        message = f"{where} is not an id" if text != where else "an argument is not an id"
        raise InputError(message, hint="`payctl list outbox` shows the ids of events")
    return text
