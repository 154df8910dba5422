"""Run the numbered steps that create payctl's own schema. They never change the payment service's tables.

Each ``NNNN_name.sql`` in this folder runs once, in order. All steps run in one transaction, which holds a lock.
Therefore two upgrades can safely run at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from urllib.parse import quote

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.store.db import advisory_locks
from ticketbottle_payctl.store.db.engine import Limits, is_missing_privilege, transaction

_LIMITS = Limits(statement=timedelta(minutes=5), lock=timedelta(seconds=30))


@dataclass(frozen=True, slots=True)
class Migration:
    """The number, name and SQL of one step."""

    version: int
    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The names of the steps that were applied to the database, and the names of the pending steps."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


def known() -> list[Migration]:
    """Return all steps that this version of payctl knows, in order."""
    steps = sorted((entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name)
    return [Migration(int(entry.name[:4]), entry.name[:-4], entry.read_text("utf-8")) for entry in steps]


def upgrade(engine: Engine, *, dry_run: bool = False) -> SchemaStatus:
    """Apply the pending steps to the database, and return their names as ``pending``. With ``dry_run``, roll them back.

    A second call has no effect, even if it runs at the same time.

    Raises:
        ConfigError: the role is not allowed to create the schema or its tables.
        DatabaseUnavailableError: the server cannot be reached.
    """
    try:
        with transaction(engine, _LIMITS, commit=not dry_run) as connection:
            before = _lock_and_read(connection)
            missing = [step for step in known() if step.name not in before]
            for step in missing:
                connection.exec_driver_sql(step.sql)
                connection.exec_driver_sql(
                    "INSERT INTO payctl.migrations (version, name) VALUES (%(version)s, %(name)s)",
                    {"version": step.version, "name": step.name},
                )
    except ConfigError as error:
        if not is_missing_privilege(error) or (owner := other_owner(engine)) is None:
            raise
        raise ConfigError(error.message, hint=f"run it as {owner}: {url_of(owner)}") from error.__cause__
    return SchemaStatus(applied=tuple(before), pending=tuple(step.name for step in missing))


def status(engine: Engine) -> SchemaStatus:
    """Return the names of the applied steps and of the pending steps."""
    with transaction(engine, _LIMITS) as connection:
        exists = connection.exec_driver_sql("SELECT to_regclass('payctl.migrations') IS NOT NULL").scalar_one()
        applied = _applied(connection) if exists else []
    return SchemaStatus(tuple(applied), tuple(step.name for step in known() if step.name not in applied))


def other_owner(engine: Engine) -> str | None:
    """Return the role that owns payctl's schema.

    Return None if the schema is missing, or if the current role has the owner's privileges.

    Raises:
        ConfigError, DatabaseUnavailableError: see :func:`upgrade`.
    """
    sql = """
        SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace
        WHERE nspname = 'payctl' AND NOT pg_has_role(nspowner, 'USAGE')
    """
    with transaction(engine, _LIMITS) as connection:
        return connection.exec_driver_sql(sql).scalar_one_or_none()


def url_of(owner: str) -> str:
    """Return the setting with which a command logs in as the schema's owner. The host and the database are left out."""
    return f"set DATABASE_URL=postgresql://{quote(owner, safe='')}@HOST:PORT/DATABASE"


def _lock_and_read(connection: Connection) -> list[str]:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({advisory_locks.MIGRATIONS})")
    connection.exec_driver_sql(
        """
        -- IF NOT EXISTS would need the right to create schemas, even if this one exists.
        DO $$ BEGIN IF to_regnamespace('payctl') IS NULL THEN CREATE SCHEMA payctl; END IF; END $$;
        CREATE TABLE IF NOT EXISTS payctl.migrations (
            version    integer PRIMARY KEY,
            name       text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    return _applied(connection)


def _applied(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql("SELECT name FROM payctl.migrations ORDER BY version")
    return [str(name) for (name,) in rows]
