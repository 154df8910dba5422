"""Event types for a shell's completion. This file is separate, because other options load the gateways."""

from __future__ import annotations

from ticketbottle_payctl.domain.event import TOPICS


def event_types(incomplete: str) -> list[str]:
    """Return the event types that begin with ``incomplete``."""
    return [name for name in TOPICS if name.startswith(incomplete)]
