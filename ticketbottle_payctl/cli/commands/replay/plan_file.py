"""Write and read a replay plan, so that a second person can review it before it is applied.

The first line is a header. Each line after the header is an event. The header contains a digest of the rest of the
file, so payctl can refuse a file that was edited. The digest protects only against mistakes, because an operator who is
allowed to apply a plan is also allowed to make one. payctl skips an event if its row has changed since the plan was
made.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from ticketbottle_payctl.cli.input.bounded_read import read_bounded
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import rfc3339
from ticketbottle_payctl.jobs.replay import LeftOut, LeftOutReason, PlannedEvent, ReplayPlan
from ticketbottle_payctl.store.outbox.replay import Row

_SCHEMA = "payctl.replay-plan/2"
_FIRST_SCHEMA = "payctl.replay-plan/1"
_LARGEST = 512 * 1024 * 1024
_PLACE = re.compile(r"\(\d{1,10},\d{1,5}\)")


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan, its database, its selector, and whether published and superseded events are allowed in the plan."""

    plan: ReplayPlan
    database: str
    selector: dict[str, object]
    allow_published: bool
    allow_superseded: bool


def write_plan(path: Path, stored: StoredPlan) -> None:
    """Write a plan to a new file that only the file's owner can read.

    Raises:
        InputError: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            file.writelines(f"{line}\n" for line in _lines(stored))
    except FileExistsError as error:
        message = f"{escape(path)} already exists"
        raise InputError(message, hint="name a new file: payctl never overwrites an existing one") from error
    except OSError as error:
        message = f"the plan cannot be written to {escape(path)}: {error.strerror or type(error).__name__}"
        raise InputError(message) from error


def read_plan(path: Path) -> StoredPlan:
    """Read a plan that :func:`write_plan` wrote.

    Raises:
        InputError: the file cannot be read, is not a plan, is incomplete, or was changed after it was made.
    """
    try:
        first, *others = read_bounded(str(path), _LARGEST).decode().split("\n")
        header = json.loads(first)
        if header["schema"] == _FIRST_SCHEMA:
            raise _changed(path, "was made by an earlier version of payctl")
        if header.pop("digest") != _digest(header, others):
            raise _changed(path, "was changed after it was made, or is incomplete")
        plan = _plan(header, [_event(json.loads(line)) for line in others if line])
        permissions = header["allow_published"] is True, header["allow_superseded"] is True
        stored = StoredPlan(plan, str(header["database"]), dict(header["selector"]), *permissions)
        whole = header["schema"] == _SCHEMA and header["events"] == len(plan.events)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _no_plan(path) from error
    if not whole:
        raise _no_plan(path)
    return stored


def _lines(stored: StoredPlan) -> list[str]:
    events = [json.dumps([*event.row, event.state]) for event in stored.plan.events]
    header = _header(stored)
    return [json.dumps({**header, "digest": _digest(header, [*events, ""])}), *events]


def _digest(header: dict[str, object], lines: Iterable[str]) -> str:
    """Return the SHA-256 of the header (without its digest) and all lines after it, as hexadecimal digits."""
    return sha256("\n".join([json.dumps(header), *lines]).encode("utf-8", "surrogatepass")).hexdigest()


def _header(stored: StoredPlan) -> dict[str, object]:
    plan = stored.plan
    return {
        "schema": _SCHEMA,
        "database": stored.database,
        "selector": stored.selector,
        "allow_published": stored.allow_published,
        "allow_superseded": stored.allow_superseded,
        "events": len(plan.events),
        "by_type": dict(plan.by_type),
        "keys_with_newer": plan.keys_with_newer,
        "oldest": rfc3339(plan.oldest) if plan.oldest else None,
        "newest": rfc3339(plan.newest) if plan.newest else None,
        # This value is only for the reviewer. payctl reads it from the database again when it applies the plan.
        "superseded": [list(each) for each in plan.superseded],
        "left_out": [list(left) for left in plan.left_out],
    }


def _plan(header: dict[str, object], events: list[PlannedEvent]) -> ReplayPlan:
    left_out, by_type = header["left_out"], header["by_type"]
    if not isinstance(left_out, list) or not isinstance(by_type, dict):
        raise TypeError
    return ReplayPlan(
        events=tuple(events),
        left_out=tuple(LeftOut(one[0], LeftOutReason(one[1]), one[2], one[3]) for one in left_out),
        by_type={str(name): int(count) for name, count in by_type.items()},
        keys_with_newer=int(str(header["keys_with_newer"])),
        oldest=_instant(header["oldest"]),
        newest=_instant(header["newest"]),
    )


def _instant(text: object) -> datetime | None:
    """Read an instant. Accept only the format that :func:`_header` writes."""
    if text is None:
        return None
    at = datetime.fromisoformat(str(text))
    if at.tzinfo != UTC or rfc3339(at) != text:
        raise ValueError
    return at


def _event(values: list[object]) -> PlannedEvent:
    event_id, place, version, state = values
    if not (
        isinstance(event_id, str) and isinstance(place, str) and isinstance(version, int) and _PLACE.fullmatch(place)
    ):
        raise TypeError
    if state not in {"dead", "pending", "published"}:
        raise ValueError
    return PlannedEvent(Row(event_id, place, version), str(state))


def _changed(path: Path, how: str) -> InputError:
    message = f"the plan in {escape(path)} {how}"
    return InputError(message, hint="make a new one with `payctl replay ... --plan-out FILE`; a plan cannot be edited")


def _no_plan(path: Path) -> InputError:
    message = f"{escape(path)} is not a replay plan, or is incomplete"
    return InputError(message, hint="make one with `payctl replay ... --plan-out FILE`")
