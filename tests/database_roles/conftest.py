"""Create a database in which each role has the grants of docs/how-to/database-roles.md."""

from __future__ import annotations

import pytest

from tests.documented_roles import create_database, create_master, drop_roles


@pytest.fixture(scope="module")
def engine_as(postgres):
    """Yield a function that returns a database engine for a role, such as "webhook".

    The database has the grants from docs/how-to/database-roles.md.

    A role without superuser rights runs the page's SQL, like the RDS master user.
    """
    create_master(postgres)
    yield create_database(postgres, "roles").__getitem__
    postgres.drop_database("roles")
    drop_roles(postgres)
