"""Check that, after a cleanup, the table and the archive together contain every row unchanged."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from tests.checker.audit import Audit
from tests.checker.messages import COLUMNS, Row

RESTORE = f"""
    SELECT {COLUMNS} FROM (
        SELECT DISTINCT ON (o.id) o.* FROM unnest(%(lines)s::text[]) WITH ORDINALITY AS l (line, n),
            json_populate_record(NULL::outbox, l.line::json) AS o
        ORDER BY o.id, l.n DESC) AS archived
"""  # noqa: S608 - the SQL is a constant


@dataclass(frozen=True)
class ArchiveFaults:
    """The ids of events with faults, in one list for each kind of fault."""

    vanished: list[str] = field(default_factory=list)
    """Events that were inserted but are neither in the table nor in the archive."""
    deleted_unpublished: list[str] = field(default_factory=list)
    """Events that were deleted before they were published."""
    deleted_unarchived: list[str] = field(default_factory=list)
    """Events that were deleted but are not in the archive."""
    unknown: list[str] = field(default_factory=list)
    """Events that are in the archive but were never inserted."""


def archived_rows(engine: Engine, path: Path) -> list[Row]:
    """Return the archive's rows as PostgreSQL restores them. If a row was archived twice, return its last version."""
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as archive:
        lines = archive.read().splitlines()
    with engine.connect() as connection:
        return [Row(*row) for row in connection.exec_driver_sql(RESTORE, {"lines": lines})]


def all_rows(remaining: Sequence[Row], archived: Iterable[Row]) -> list[Row]:
    """Return each row once, in publishing order.

    If a row is in the table and in the archive, use the table's version.
    """
    rows = {row.id: row for row in archived} | {row.id: row for row in remaining}
    return sorted(rows.values(), key=lambda row: (row.created_at, row.id))


def judge_archive(audit: Audit, remaining: Iterable[Row], archived: Iterable[Row]) -> ArchiveFaults:
    """Compare the notes about inserted and deleted events with the rows in the table and the archive."""
    inserted = {note.id for note in audit.events if note.deed == "INSERT"}
    deleted = [note for note in audit.events if note.deed == "DELETE"]
    here, there = {row.id for row in remaining}, {row.id for row in archived}
    return ArchiveFaults(
        vanished=sorted(inserted - here - there),
        deleted_unpublished=sorted(note.id for note in deleted if not note.published),
        deleted_unarchived=sorted({note.id for note in deleted} - there),
        unknown=sorted(there - inserted),
    )
