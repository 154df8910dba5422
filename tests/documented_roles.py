"""Create the database roles of docs/how-to/database-roles.md with the page's own SQL."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ticketbottle_payctl.sandbox.payment_service import create_tables
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import make_engine

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "database-roles.md"
ROLES = ("owner", "webhook", "publisher", "cleanup", "watcher", "reconciler", "operator")
PASSWORD = "a-password-of-this-test"


def create_master(postgres):
    """Create a role without superuser rights, like the RDS master user. This role runs the page's SQL."""
    _run(postgres, f"CREATE ROLE payctl_master LOGIN CREATEROLE PASSWORD '{PASSWORD}'")


def drop_roles(postgres):
    """Drop all roles. Before this, drop each database that contains their objects or privileges."""
    _run(postgres, "; ".join(f"DROP ROLE payctl_{role}" for role in (*reversed(ROLES), "master")))


def create_database(postgres, name, *, schema="public", private=False, leave_out=None):
    """Create a database with the payment service's tables, and run the page's SQL. Return an engine for each role.

    If ``private`` is true, PUBLIC has no privilege on the tables' schema. ``leave_out`` matches the lines to remove
    from the first block.
    """
    url = postgres.create_database(name)
    _run(postgres, f"ALTER DATABASE {name} OWNER TO payctl_master")
    before, after = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    # psql refuses `?schema=`, so the connection for the page's SQL does not have this parameter.
    psql = _engine(url, "master")
    with psql.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        if private:
            connection.exec_driver_sql(f"REVOKE ALL ON SCHEMA {schema} FROM PUBLIC")
        connection.exec_driver_sql(f"SET LOCAL search_path TO {schema}")
        create_tables(connection)
    with psql.begin() as connection:
        connection.exec_driver_sql(re.sub(leave_out, "", before, flags=re.MULTILINE) if leave_out else before)
        for role in ROLES:
            connection.exec_driver_sql(f"ALTER ROLE payctl_{role} PASSWORD '{PASSWORD}'")
    own = f"{url}?schema={schema}"
    engines = {role: _engine(own, role) for role in (*ROLES, "master")}
    engines["superuser"] = make_engine(DatabaseSettings(Secret(own), pooled=False))
    migrations.upgrade(engines["owner"])
    with psql.begin() as connection:
        connection.exec_driver_sql(re.sub(r"\bpublic\b", schema, after))
    return engines


def _engine(url, role):
    parts = urlsplit(url)
    own = parts._replace(netloc=f"payctl_{role}:{PASSWORD}@{parts.hostname}:{parts.port}")
    return make_engine(DatabaseSettings(Secret(urlunsplit(own)), pooled=False))


def _run(postgres, statement):
    with make_engine(DatabaseSettings(Secret(postgres.url()), pooled=False)).begin() as connection:
        connection.exec_driver_sql(statement)
