"""Ids by the thousand: from a file or from stdin, one a line, or as another command's ndjson."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ticketbottle_payctl.cli.input.bounded_read import read_bounded
from ticketbottle_payctl.errors import InputError

_LARGEST = 64 * 1024 * 1024
_LONGEST_ID = 200


def named_ids(arguments: list[str] | None, from_file: str | None) -> tuple[str, ...] | None:
    """The ids that were typed, or stand in stdin (``-``) or a file; each once. None where none were asked for.

    Raises:
        InputError: two sources, an unreadable file, no id in it, or a line that holds no id.
    """
    typed = arguments or []
    if from_file is not None and typed:
        message = "ids were given both on the command line and with --from-file"
        raise InputError(message, hint="give one of the two")
    if from_file is not None:
        return read_ids(from_file)
    if typed == ["-"]:
        return read_ids("-")
    return tuple(dict.fromkeys(_checked(each, each) for each in typed)) if typed else None


def read_ids(name: str) -> tuple[str, ...]:
    """The ids of a file, or of stdin for ``-``: one a line, ``#`` begins a comment.

    A line that is a JSON object counts with its ``id`` (or ``event_id``), as ``-o ndjson`` writes it. Its summary
    is no id; it must not say that there are more.

    Raises:
        InputError: it is unreadable, holds no id, a line holds none, or it is a part of a list only.
    """
    where = "stdin" if name == "-" else name
    try:
        text = read_bounded(name, _LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{where} is not text"
        raise InputError(message) from error
    found = [_id(line.strip(), f"{where}, line {number}") for number, line in enumerate(text.splitlines(), 1)]
    ids = tuple(dict.fromkeys(each for each in found if each))
    if not ids:
        message = f"{where} holds no id"
        raise InputError(message, hint="one id a line, or the ndjson of `payctl list outbox`")
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
    named = item.get("id") or item.get("event_id")
    if not isinstance(named, str):
        message = f"{where} has no id"
        raise InputError(message)
    return _checked(named, where)


def _check_whole(summary: Mapping[str, object], where: str) -> None:
    """A summary is no id, but it knows whether all the others stand before it.

    Raises:
        InputError: there are more rows than were listed, or the listing broke off.
    """
    if summary.get("truncated"):
        message = f"{where} says that there are more rows than were listed: it is one page, not all that was selected"
        raise InputError(message, hint="list with --all, or with a --limit that no row is beyond")
    if summary.get("error"):
        message = f"{where} says that the listing broke off with an error"
        raise InputError(message, hint="list again; the exit code of a command in a pipe is easily missed")


def _checked(text: str, where: str) -> str:
    if not text or len(text) > _LONGEST_ID or not text.isprintable() or " " in text:
        message = f"{where} is not an id" if text != where else "an argument is not an id"
        raise InputError(message, hint="an event's id is what `payctl list outbox` shows")
    return text
