"""Read the server's version and the session's role, clock and time zone."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW, aware


class ServerInfo(NamedTuple):
    """A server, and the current session's role and time zone.

    ``version`` is PostgreSQL's version number, such as 150004. ``zone`` is the initial time zone of this role's
    sessions.
    """

    version: int
    role: str
    database: str
    standby: bool
    zone: str


class Identity(NamedTuple):
    """A server's system identifier and a database's name. ``system`` is None if the role cannot read it."""

    system: str | None
    database: str


class ZoneSetting(NamedTuple):
    """A time zone setting for a role's sessions, for a database's sessions, or for a role's sessions in a database."""

    role: str | None
    database: str | None
    zone: str


def server(connection: Connection) -> ServerInfo:
    """Return a connection's server, database, role and time zone."""
    row = connection.exec_driver_sql(
        """
        SELECT current_setting('server_version_num')::int, current_user::text, current_database()::text,
            pg_is_in_recovery(),
            -- a session's initial time zone; payctl has set this transaction's zone to UTC
            (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone')
        """
    ).one()
    return ServerInfo(*row)


def identity(connection: Connection) -> Identity:
    """Return the server's system identifier and the database's name. A replica has its primary's identifier."""
    asked = "SELECT current_database()::text, has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"
    database, allowed = connection.exec_driver_sql(asked).one()
    number = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"
    return Identity(connection.exec_driver_sql(number).scalar_one() if allowed else None, database)


def zone_settings(connection: Connection) -> list[ZoneSetting]:
    """Return the time zone settings for sessions of other roles in this database."""
    rows = connection.exec_driver_sql(
        """
        SELECT nullif(s.setrole, 0)::regrole::text, d.datname::text, split_part(c.setting, '=', 2)
        FROM pg_db_role_setting s
        LEFT JOIN pg_database d ON d.oid = s.setdatabase
        CROSS JOIN unnest(s.setconfig) AS c (setting)
        WHERE lower(split_part(c.setting, '=', 1)) = 'timezone'
          AND (s.setdatabase = 0 OR d.datname = current_database())
        ORDER BY 1 NULLS FIRST, 2 NULLS FIRST
        """
    )
    return [ZoneSetting(*row) for row in rows]


def clock(connection: Connection) -> datetime:
    """Return the server's clock, in UTC."""
    at = connection.exec_driver_sql(f"SELECT {NOW}").scalar_one()
    assert isinstance(at, datetime)  # noqa: S101 - for the type checker
    return aware(at)


def seconds_ahead(connection: Connection) -> float:
    """Return how many seconds the newest event's time is ahead of the server's clock.

    If it is not ahead, the result is 0 or less. The query needs two index lookups.
    """
    ahead = connection.exec_driver_sql(
        f"""
        SELECT EXTRACT(epoch FROM greatest(
            (SELECT "createdAt" FROM outbox WHERE published = false ORDER BY "createdAt" DESC LIMIT 1),
            (SELECT "createdAt" FROM outbox WHERE published = true ORDER BY "createdAt" DESC LIMIT 1)
        ) - {NOW})
        """  # noqa: S608 - the text is a constant
    ).scalar_one()
    return 0.0 if ahead is None else float(ahead)
