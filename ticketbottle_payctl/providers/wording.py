"""The JSON replies of the gateways that read one."""

from __future__ import annotations

import json

from ticketbottle_payctl.domain.callback import Reply


def json_reply(content: dict[str, object], status: int = 200) -> Reply:
    """A reply with a compact JSON body; a new value each time, since headers are a dictionary."""
    return Reply(status, json.dumps(content, separators=(",", ":")), {"content-type": "application/json"})
