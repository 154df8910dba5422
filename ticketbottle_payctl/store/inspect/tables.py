"""Read the tables' columns, indexes and vacuum statistics, and the current role's privileges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

OUTBOX_INDEX = "outbox_published_createdAt_idx"
REFERENCE_INDEX = "payments_providerTransactionId_idx"
PAYCTL = "SCHEMA payctl"
"""The name of payctl's schema in a :class:`Privilege`, as ``GRANT ... ON`` needs it."""

# For payctl.*, to_regclass would raise an error if the role is not allowed to use the schema. The comparison of names
# comes first, because the planner can use an index for it.
_NAMED = """
    c.relname = CASE WHEN w.name LIKE 'payctl.%%' THEN substr(w.name, 8) ELSE w.name END
    AND CASE WHEN w.name LIKE 'payctl.%%' THEN n.nspname = 'payctl' ELSE pg_table_is_visible(c.oid) END"""
"""The SQL condition for the table ``w.name``, which may be ``payctl.NAME``."""


class Column(NamedTuple):
    """A column of a table. If ``required`` is true, an INSERT must give a value for the column."""

    name: str
    type: str
    required: bool


class Privilege(NamedTuple):
    """A privilege, such as SELECT, on a table, such as ``payctl.runs``, or on one of its columns.

    ``table`` may also be :data:`PAYCTL`.
    """

    table: str
    kind: str
    column: str | None = None


class Index(NamedTuple):
    """An index, with its name, its columns in order, and whether the index is usable."""

    name: str
    columns: tuple[str, ...]
    valid: bool
    partial: bool


class Housekeeping(NamedTuple):
    """PostgreSQL's statistics about a table's rows, size and last ANALYZE. The row counts are estimates."""

    live: int
    dead: int
    size: int
    last_analyze: datetime | None
    options: tuple[str, ...]
    autovacuum: bool


def columns(connection: Connection, table: str) -> list[Column]:
    """Return the columns of one of the payment service's tables, or an empty list if the table does not exist."""
    rows = connection.exec_driver_sql(
        """
        SELECT attname::text, replace(format_type(atttypid, NULL), '"', ''),
            attnotnull AND NOT atthasdef AND attidentity = ''
        FROM pg_attribute
        WHERE attrelid = to_regclass(quote_ident(%(table)s)) AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        {"table": table},
    )
    return [Column(name, kind.rpartition(".")[2], required) for name, kind, required in rows]


def labels(connection: Connection, table: str, column: str) -> list[str]:
    """Return the labels of an enum column, or an empty list if the column is not an enum."""
    rows = connection.exec_driver_sql(
        """
        SELECT e.enumlabel::text FROM pg_attribute a JOIN pg_enum e ON e.enumtypid = a.atttypid
        WHERE a.attrelid = to_regclass(quote_ident(%(table)s)) AND a.attname = %(column)s ORDER BY e.enumsortorder
        """,
        {"table": table, "column": column},
    )
    return [label for (label,) in rows]


def privileges(
    connection: Connection, wanted: Sequence[Privilege], *, without_usage: bool = False
) -> dict[Privilege, bool]:
    """Return whether the current role has each of the privileges, in the order of ``wanted``.

    Privileges on missing tables and columns are left out.

    Without USAGE on the schema, a role cannot use its privileges, so the result is false. If ``without_usage`` is true,
    the result does not depend on USAGE.
    """
    rows = connection.exec_driver_sql(
        f"""
        SELECT w.name, w.kind, w.attribute, (%(anyway)s OR has_schema_privilege(t.schema, 'USAGE')) AND CASE
            WHEN w.attribute IS NULL THEN has_table_privilege(t.oid, w.kind)
            ELSE has_column_privilege(t.oid, a.attnum, w.kind) END
        FROM unnest(%(tables)s::text[], %(kinds)s::text[], %(columns)s::text[])
            WITH ORDINALITY AS w (name, kind, attribute, place)
        CROSS JOIN LATERAL (
            SELECT c.oid, n.oid AS schema FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE {_NAMED}
        ) AS t
        LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = w.attribute
        WHERE w.attribute IS NULL OR a.attnum IS NOT NULL
        ORDER BY w.place
        """,  # noqa: S608 - built from constants only
        {
            "tables": [one.table for one in wanted],
            "kinds": [one.kind for one in wanted],
            "columns": [one.column for one in wanted],
            "anyway": without_usage,
        },
    )
    return {Privilege(table, kind, column): held for table, kind, column, held in rows}


def may_use_payctl(connection: Connection) -> bool:
    """Return whether the current role has USAGE on the ``payctl`` schema, which must exist."""
    sql = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'payctl'"
    return bool(connection.exec_driver_sql(sql).scalar_one())


def owners(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """Return the owner of each table, and of :data:`PAYCTL`. Omit names that do not exist."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT w.name, pg_get_userbyid(t.owner)::text FROM unnest(%(names)s::text[]) AS w (name)
        CROSS JOIN LATERAL (
            SELECT relowner AS owner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE {_NAMED}
            UNION ALL SELECT nspowner FROM pg_namespace WHERE w.name = %(payctl)s AND nspname = 'payctl'
        ) AS t
        """,  # noqa: S608 - built from constants only
        {"names": list(names), "payctl": PAYCTL},
    )
    return {name: str(owner) for name, owner in rows}


def may_create(connection: Connection) -> bool:
    """Return whether the current role can create tables in the ``payctl`` schema, or can create the missing schema."""
    sql = """
        SELECT COALESCE((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'payctl'),
                        has_database_privilege(current_database(), 'CREATE'))
    """
    return bool(connection.exec_driver_sql(sql).scalar_one())


def indexes(connection: Connection, table: str) -> list[Index]:
    """Return the indexes of one of the payment service's tables. Expressions in an index are not listed."""
    rows = connection.exec_driver_sql(
        """
        SELECT c.relname::text, i.indisvalid AND i.indisready, i.indpred IS NOT NULL,
            ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
                  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = to_regclass(quote_ident(%(table)s)) ORDER BY 1
        """,
        {"table": table},
    )
    return [Index(name, tuple(keys), valid, partial) for name, valid, partial, keys in rows]


def serving(found: Sequence[Index], *columns: str) -> Index | None:
    """Return a usable index that begins with these columns, or None if no usable index begins with them."""
    usable = (one for one in found if one.columns[: len(columns)] == columns and one.valid and not one.partial)
    return next(usable, None)


def housekeeping(connection: Connection, table: str) -> Housekeeping | None:
    """Return a table's statistics, or None if the table does not exist."""
    row = connection.exec_driver_sql(
        """
        SELECT s.n_live_tup, s.n_dead_tup, pg_table_size(s.relid),
            greatest(s.last_analyze, s.last_autoanalyze), COALESCE(c.reloptions, '{}'),
            current_setting('autovacuum')::bool
        FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid
        WHERE s.relid = to_regclass(quote_ident(%(table)s))
        """,
        {"table": table},
    ).first()
    if row is None:
        return None
    live, dead, size, analyze, options, autovacuum = row
    return Housekeeping(live, dead, size, analyze, tuple(options), autovacuum)
