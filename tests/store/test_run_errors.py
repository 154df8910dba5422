"""Test that only the right records of a run change when the secrets in an error are masked."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from ticketbottle_payctl.store.outbox.run_errors import hide_secrets

pytestmark = pytest.mark.postgres
OURS, OTHER = str(UUID(int=1)), str(UUID(int=2))
SECRET, MASKED = "password=canary refused", "password=*** refused"  # pragma: allowlist secret


def test_only_the_errors_of_the_chunk_are_masked(engine):
    """The secrets in one chunk's errors are masked in ``before`` and ``after``. Everything else stays unchanged."""
    rows = [(OURS, 1, 0, SECRET), (OURS, 1, 1, "no"), (OURS, 2, 0, SECRET), (OTHER, 1, 0, SECRET)]
    with engine.connect() as connection:
        for run, chunk, place, error in rows:
            stored = json.dumps({"last_error": error})
            connection.exec_driver_sql(
                """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after)
                VALUES (%s, %s, %s, 'e', 'requeued', %s, %s)""",
                (run, chunk, place, stored, stored if place == 0 else None),
            )
        hide_secrets(connection, OURS, 1, [SECRET, "no"])
        found = connection.exec_driver_sql(
            """SELECT run_id::text, chunk, place, before->>'last_error', after->>'last_error'
            FROM payctl.run_items ORDER BY 1, 2, 3"""
        )
        assert [tuple(row) for row in found] == [
            (OURS, 1, 0, MASKED, MASKED),
            (OURS, 1, 1, "no", None),
            (OURS, 2, 0, SECRET, SECRET),
            (OTHER, 1, 0, SECRET, SECRET),
        ]
