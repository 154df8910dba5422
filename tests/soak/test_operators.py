"""Test that the soak accepts only the expected refusals of a replay."""

from __future__ import annotations

import json

import pytest

from tests.soak.operators import leaves_out_everything

SUPERSEDED, UNKNOWN = {"reason": "superseded"}, {"reason": "unknown_type"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"counts": {"matched": 1}, "items": [SUPERSEDED]}, True),
        ({"counts": {"matched": 2}, "items": [SUPERSEDED, SUPERSEDED]}, True),
        ({"counts": {"matched": 2}, "items": [SUPERSEDED, UNKNOWN]}, True),
        ({"counts": {"matched": 2}, "items": [SUPERSEDED]}, False),
        ({"counts": {"matched": 2}, "items": [SUPERSEDED, {"reason": "changed"}]}, False),
        ({"counts": {"matched": 0}, "items": []}, False),
        ({"counts": {}, "items": []}, False),
        (b"", False),
        (b"Traceback", False),
    ],
)
def test_a_refused_replay_is_expected_only_if_no_event_can_be_replayed(said, expected):
    """Exit code 7 from a replay is expected only if each of its events is superseded or of an unknown type."""
    assert leaves_out_everything(said if isinstance(said, bytes) else json.dumps(said).encode()) is expected
