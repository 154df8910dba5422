"""Remove secrets from the errors that a run records, because the old service stored its errors unredacted."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from ticketbottle_payctl.redaction import redact

_HIDE = """
UPDATE payctl.run_items AS i
SET before = jsonb_set(i.before, '{last_error}', to_jsonb(e.hidden)),
    after = jsonb_set(i.after, '{last_error}', to_jsonb(e.hidden))  -- stays null for a row that was left unchanged
FROM unnest(%(errors)s::text[], %(hidden)s::text[]) AS e (error, hidden)
WHERE i.run_id = %(run)s::uuid AND i.chunk = %(chunk)s AND i.before->>'last_error' = e.error
"""


def hide_secrets(connection: Connection, run_id: str, chunk: int, errors: Iterable[str]) -> None:
    """Redact everything that looks like a secret in a chunk's recorded errors, before the chunk is committed."""
    hidden = {error: text for error in errors if (text := redact(error)) != error}
    if hidden:
        given = {"errors": list(hidden), "hidden": list(hidden.values()), "run": run_id, "chunk": chunk}
        connection.exec_driver_sql(_HIDE, given)
