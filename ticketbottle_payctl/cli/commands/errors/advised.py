"""The commands that ``payctl errors`` advises for a group of events."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.domain.causes import replay_options
from ticketbottle_payctl.formats import PLACEHOLDER, rfc3339
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector


def replay_command(group: ErrorGroup, selector: Selector, adviser: Adviser) -> str:
    """Return the command that replays the counted events, or an empty string if a replay does not help.

    The command has the same selectors, and a window with exact times.
    """
    if not group.replayable:
        return ""
    words = [*replay_options(group.group, dead=selector.failed or group.dead == group.count)]
    for each in selector.types:
        words += ["--type", each]
    bounds = ((option, _written(at)) for option, at in (("--since", selector.since), ("--until", selector.until)) if at)
    for option, value in (("--provider", selector.provider), ("--error", selector.error), *bounds):
        words += [option, value] if value else []
    reason = replace(adviser, reason=f"error group {group.group}")
    return reason.changing(["replay"], options=words, rows=group.replayable)


def close_command(group: ErrorGroup, adviser: Adviser) -> str:
    """Return the command that closes the group's oldest harmless event, or an empty string if none is open."""
    if group.to_close is None:
        return ""
    return replace(adviser, reason=PLACEHOLDER).changing(["close"], [group.to_close])


def _written(at: datetime) -> str:
    """Return the window's start or end as text, rounded up to a whole millisecond.

    Events have times in whole milliseconds, so the rounded time selects the same events.
    """
    return rfc3339(at + timedelta(microseconds=999))
