"""Find out whether a role can use the schema of the payment service's tables.

Without USAGE on the schema, PostgreSQL says that the tables do not exist.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection


class MissingUsage(NamedTuple):
    """A role without USAGE on a schema, and the schema's owner, who can grant it."""

    role: str
    schema: str
    owner: str

    @property
    def fact(self) -> str:
        """A description of what is missing."""
        return f"role {self.role} has no USAGE on schema {self.schema}"

    @property
    def grant(self) -> str:
        """The statement that the owner runs."""
        role = self.role.replace('"', '""')
        return f'GRANT USAGE ON SCHEMA "{self.schema}" TO "{role}"'


def missing_usage(connection: Connection, schema: str) -> MissingUsage | None:
    """Return what the current role lacks. Return None if the role can use the schema, or if the schema is missing."""
    row = connection.exec_driver_sql(
        """
        SELECT current_user::text, nspname::text,
            -- nobody can log in as pg_database_owner, whose only member is the database's owner
            pg_get_userbyid(CASE WHEN nspowner = to_regrole('pg_database_owner') THEN datdba ELSE nspowner END)::text
        FROM pg_namespace JOIN pg_database ON datname = current_database()
        WHERE nspname = %(schema)s AND NOT has_schema_privilege(pg_namespace.oid, 'USAGE')
        """,
        {"schema": schema},
    ).one_or_none()
    return MissingUsage(*row) if row else None
