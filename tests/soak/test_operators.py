from __future__ import annotations

import json

import pytest

from tests.soak.operators import has_only_superseded

SUPERSEDED = {"reason": "superseded"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"counts": {"matched": 1}, "items": [SUPERSEDED]}, True),
        ({"counts": {"matched": 2}, "items": [SUPERSEDED, SUPERSEDED]}, True),
        ({"counts": {"matched": 2}, "items": [SUPERSEDED]}, False),
        ({"counts": {"matched": 2}, "items": [SUPERSEDED, {"reason": "changed"}]}, False),
        ({"counts": {"matched": 0}, "items": []}, False),
        ({"counts": {}, "items": []}, False),
        (b"", False),
        (b"Traceback", False),
    ],
)
def test_a_refused_replay_is_expected_only_if_every_event_was_superseded(said, expected):
    """Exit code 7 from a replay is expected only if every event that the replay left out was superseded."""
    assert has_only_superseded(said if isinstance(said, bytes) else json.dumps(said).encode()) is expected
