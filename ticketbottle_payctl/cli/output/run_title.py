"""Build the title of a recorded run, for people."""

from __future__ import annotations

from uuid import UUID

from ticketbottle_payctl.formats import short_id
from ticketbottle_payctl.store.payctl.runs import Run

_LONGEST = 20
_ENDING = 8
"""How many of an order code's last characters ``payctl show`` needs to find the order."""


def run_title(run: Run) -> str:
    """Return the run's command. For ``close``, add what was closed: the order code or a short id."""
    subject = run.selector.get("subject") if run.command == "close" else None
    if not subject:
        return run.command
    return f"{run.command} {run.selector.get('order_code') or _short(str(subject))}"


def short_run_title(run: Run) -> str:
    """Return the run's title for a narrow table, without options and with only the end of a long order code."""
    title = run_title(run)
    if len(title) <= _LONGEST:
        return title
    return f"close {title[-_ENDING:]}" if run.command == "close" else run.command.partition(" --")[0]


def _short(subject: str) -> str:
    try:
        UUID(subject)
    except ValueError:
        return subject
    return short_id(subject)
