"""Search for a run's secrets in everything that the run printed, logged, stored or sent."""

from __future__ import annotations

from collections.abc import Mapping

from tests.security.canaries import Canaries


def leaks(canaries: Canaries, texts: Mapping[str, str | bytes]) -> dict[str, list[str]]:
    """Return a dictionary that maps the name of each output to the names of the secrets in it."""
    found = {name: sorted(canaries.seen_in(text)) for name, text in texts.items()}
    return {name: seen for name, seen in found.items() if seen}


def leaks_of_the_server(canaries: Canaries, log: bytes) -> dict[str, list[str]]:
    """Return the secrets in PostgreSQL's log. Account numbers in failed statements are allowed."""
    seen = [name for name in sorted(canaries.seen_in(log)) if not name.startswith("account")]
    return {"the server's log": seen} if seen else {}
