"""Write ``payctl.run_items``: the rows that a run changed or left unchanged. ``runs`` reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection


def left_alone(connection: Connection, run_id: str, rows: Sequence[tuple[str, str]]) -> None:
    """Record the ids of the rows that were left out of the run's plan, and the reasons."""
    connection.exec_driver_sql(
        """
        INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason)
        SELECT %(run)s::uuid, -1, place, id, 'skipped', reason
        FROM unnest(%(ids)s::text[], %(reasons)s::text[]) WITH ORDINALITY AS r (id, reason, place)
        """,
        {"run": run_id, "ids": [row[0] for row in rows], "reasons": [row[1] for row in rows]},
    )


def record_payment(  # noqa: PLR0913, PLR0917 - one argument per column
    connection: Connection,
    run_id: str,
    place: int,
    payment_id: str,
    outcome: str,
    reason: str | None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Record in a run how a payment was changed, or why it was left unchanged."""
    connection.exec_driver_sql(
        """
        INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason, before, after)
        VALUES (%(run)s::uuid, 0, %(place)s, %(id)s, %(outcome)s, %(reason)s, %(before)s::jsonb, %(after)s::jsonb)
        """,
        {
            "run": run_id,
            "place": place,
            "id": payment_id,
            "outcome": outcome,
            "reason": reason,
            "before": None if before is None else json.dumps(dict(before)),
            "after": None if after is None else json.dumps(dict(after)),
        },
    )
