"""Build the JSON replies for gateways that read a reply's body."""

from __future__ import annotations

import json

from ticketbottle_payctl.domain.callback import Reply


def json_reply(content: dict[str, object], status: int = 200) -> Reply:
    """Return a reply with a compact JSON body. Each call creates a new reply, because a reply's headers are mutable."""
    return Reply(status, json.dumps(content, separators=(",", ":")), {"content-type": "application/json"})
