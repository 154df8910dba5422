"""Read ids from a file or from stdin: one per line, or the ndjson of another command."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ticketbottle_payctl.cli.input.bounded_read import read_bounded
from ticketbottle_payctl.errors import InputError

_LARGEST = 64 * 1024 * 1024
_LONGEST_ID = 200


def named_ids(arguments: list[str] | None, from_file: str | None) -> tuple[str, ...] | None:
    """Return the ids that were typed, or are in a file or stdin (``-``), each once. None if no id was named.

    Raises:
        InputError: two sources were given, the file cannot be read or has no id, or a line is not an id.
    """
    typed = arguments or []
    if from_file is not None and typed:
        message = "ids cannot be combined with --from-file"
        raise InputError(message, hint="give one of the two")
    if from_file is not None:
        return read_ids(from_file)
    if typed == ["-"]:
        return read_ids("-")
    return tuple(dict.fromkeys(_checked(each, each) for each in typed)) if typed else None


def read_ids(name: str) -> tuple[str, ...]:
    """Return the ids of a file, or of stdin for ``-``: one per line, ``#`` starts a comment.

    A line that is a JSON object counts with its ``id`` (or ``event_id``), as ``-o ndjson`` writes it, or with the
    ``eventId`` of a message on the queue of dead events. The summary line has no id, but it must not say that more rows
    exist.

    Raises:
        InputError: the file cannot be read or has no id, a line is not an id, or the list is incomplete.
    """
    where = "stdin" if name == "-" else name
    try:
        text = read_bounded(name, _LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{where} is not UTF-8"
        raise InputError(message) from error
    found = [_id(line.strip(), f"{where}, line {number}") for number, line in enumerate(text.splitlines(), 1)]
    ids = tuple(dict.fromkeys(each for each in found if each))
    if not ids:
        message = f"{where} has no id"
        raise InputError(message, hint="write one id per line, or use `payctl list outbox -o ndjson`")
    return ids


def _id(line: str, where: str) -> str | None:
    if not line or line.startswith("#"):
        return None
    if not line.startswith("{"):
        return _checked(line, where)
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        message = f"{where} is not JSON"
        raise InputError(message) from error
    if item.get("type") == "summary":
        _check_whole(item, where)
        return None
    named = item.get("id") or item.get("event_id") or item.get("eventId")
    if not isinstance(named, str):
        message = f"{where} has no id"
        raise InputError(message)
    return _checked(named, where)


def _check_whole(summary: Mapping[str, object], where: str) -> None:
    """Check that the list before this summary is complete.

    Raises:
        InputError: not all rows were listed, or the listing ended with an error.
    """
    if summary.get("truncated"):
        message = f"{where} says that the list is incomplete: more rows match than were listed"
        raise InputError(message, hint="list with --all or a larger --limit")
    if summary.get("error"):
        message = f"{where} says that the listing ended with an error"
        raise InputError(message, hint="list again, and check the exit code of the first command in the pipe")


def _checked(text: str, where: str) -> str:
    if not text or len(text) > _LONGEST_ID or not text.isprintable() or " " in text:
        message = f"{where} is not an id" if text != where else "an argument is not an id"
        raise InputError(message, hint="`payctl list outbox` shows the ids of events")
    return text
