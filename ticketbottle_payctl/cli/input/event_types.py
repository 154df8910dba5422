"""Complete event types for a shell.

This file is separate, because importing the other options would load the gateways.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.event import TOPICS


def event_types(incomplete: str) -> list[str]:
    """Return the event types that begin with ``incomplete``."""
    return [name for name in TOPICS if name.startswith(incomplete)]
