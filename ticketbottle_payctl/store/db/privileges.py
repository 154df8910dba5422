"""Build SQL conditions that check what the database role is allowed to read, so that commands can omit the rest."""

from __future__ import annotations


def may_read_payments(*columns: str) -> str:
    """Return an SQL condition that is true if the role is allowed to read these columns of ``payments``."""
    return _may_read("to_regclass('payments')", columns)


def may_read_ours(table: str, *columns: str) -> str:
    """Return an SQL condition that is true if the role is allowed to read these columns of a ``payctl`` table.

    The condition is false if the table is missing, or if the role is not allowed to use the schema. In the second case,
    ``to_regclass`` would raise an error, so the condition reads ``pg_class``.
    """
    of = f"""(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'payctl' AND c.relname = '{table}' AND has_schema_privilege(n.oid, 'USAGE'))"""  # noqa: S608 - constants
    return _may_read(of, columns)


def may_read_outbox(*columns: str) -> str:
    """Return an SQL condition that is true if the role is allowed to read these columns of ``outbox``."""
    return _may_read("to_regclass('outbox')", columns)


def may_read_all_of_ours(table: str) -> str:
    """Return an SQL condition that is true if the role is allowed to read whole rows of a ``payctl`` table."""
    return f"""COALESCE((SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'payctl' AND c.relname = '{table}'), false)"""  # noqa: S608 - constants


def _may_read(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(f"'{column}'" for column in columns)
    return f"""(SELECT count(*) = {len(columns)} FROM pg_attribute
        WHERE attrelid = {table} AND attname IN ({names}) AND has_column_privilege(attrelid, attnum, 'SELECT'))"""  # noqa: S608 - constants
