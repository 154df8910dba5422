"""Test the facts that payctl shows to a role that is not allowed to read everything."""

from __future__ import annotations

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.db import privileges
from ticketbottle_payctl.store.db.missing_usage import MissingUsage, missing_usage
from ticketbottle_payctl.store.payments.refused_callbacks import refused_lately

pytestmark = pytest.mark.postgres
OF_OUTBOX = privileges.may_read_outbox("id", "createdAt")
OF_PAYMENTS = privileges.may_read_payments("id", "status")
OF_RUNS = privileges.may_read_ours("runs", "id", "command")
ALL_RUNS = privileges.may_read_all_of_ours("runs")
MISSING = (privileges.may_read_ours("nothing", "id"), privileges.may_read_all_of_ours("nothing"))


@pytest.fixture
def role(database_url, execute):
    """Yield the name of a new role without privileges. Restore the owners at the end."""
    name = f"limited_{database_url.rpartition('/')[2].partition('?')[0]}"
    (owner,) = execute("SELECT current_user")
    execute(f"CREATE ROLE {name}; CREATE ROLE {name}_owner")
    yield name
    execute(f"DROP OWNED BY {name}; REASSIGN OWNED BY {name}_owner TO {owner}; DROP ROLE {name}, {name}_owner")


@pytest.fixture
def as_role(engine, role, execute):
    """Yield a function that grants privileges to the role and returns a connection of this role."""
    opened = []

    def run(*grants):
        for grant in grants:
            execute(grant.format(role=role))
        opened.append(engine.connect())
        opened[-1].exec_driver_sql(f"SET ROLE {role}")
        return opened[-1]

    yield run
    for each in opened:
        each.invalidate()


USAGE = "GRANT USAGE ON SCHEMA payctl TO {role}"


@pytest.mark.parametrize(
    ("condition", "grants", "may"),
    [
        (OF_OUTBOX, ["GRANT SELECT ON outbox TO {role}"], True),
        (OF_OUTBOX, ['GRANT SELECT (id, "createdAt") ON outbox TO {role}'], True),
        (OF_OUTBOX, ["GRANT SELECT (id, payload) ON outbox TO {role}"], False),
        (OF_OUTBOX, ["GRANT SELECT ON payments, payctl.runs TO {role}", USAGE], False),
        (OF_PAYMENTS, ["GRANT SELECT (id, status) ON payments TO {role}"], True),
        (OF_PAYMENTS, ["GRANT SELECT (id, currency) ON payments TO {role}"], False),
        (OF_PAYMENTS, ["GRANT SELECT ON outbox TO {role}"], False),
        (OF_RUNS, ["GRANT SELECT (id, command) ON payctl.runs TO {role}", USAGE], True),
        (OF_RUNS, ["GRANT SELECT (id, status) ON payctl.runs TO {role}", USAGE], False),
        (OF_RUNS, ["GRANT SELECT ON payctl.run_items TO {role}", USAGE], False),
        (OF_RUNS, ["GRANT SELECT ON payctl.runs TO {role}"], False),
        (OF_RUNS, [USAGE], False),
        (ALL_RUNS, ["GRANT SELECT ON payctl.runs TO {role}", USAGE], True),
        (ALL_RUNS, ["GRANT SELECT ON payctl.run_items TO {role}", USAGE], False),
        (ALL_RUNS, ["GRANT SELECT ON payctl.runs TO {role}"], False),
        (ALL_RUNS, [USAGE], False),
        (MISSING[0], [USAGE], False),
        (MISSING[1], [USAGE], False),
    ],
)
def test_a_role_may_read_a_table_if_it_may_read_the_columns_and_use_the_schema(as_role, condition, grants, may):
    """A role can read one of payctl's tables only if the role has privileges on the schema and on each column."""
    assert as_role(*grants).exec_driver_sql(f"SELECT {condition}").scalar_one() is may


def test_a_role_without_usage_learns_which_owner_can_grant_it(as_role, role):
    """A role that may not use a schema is told the schema's owner.

    If the schema does not exist, nothing is reported.
    """
    connection = as_role("CREATE SCHEMA theirs; ALTER SCHEMA theirs OWNER TO {role}_owner", "CREATE SCHEMA another")
    assert missing_usage(connection, "theirs") == MissingUsage(role, "theirs", f"{role}_owner")
    assert missing_usage(connection, "public") is missing_usage(connection, "nothing") is None
    connection = as_role("GRANT USAGE ON SCHEMA theirs TO {role}")
    assert missing_usage(connection, "theirs") is None


def test_the_owner_of_the_database_can_grant_usage_of_its_own_schema(as_role, role, execute):
    """If a schema belongs to pg_database_owner, payctl names the role that owns the database."""
    execute(f"DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' OWNER TO {role}_owner'; END $$")
    connection = as_role("CREATE SCHEMA ours", "ALTER SCHEMA ours OWNER TO pg_database_owner")
    assert missing_usage(connection, "ours") == MissingUsage(role, "ours", f"{role}_owner")


def test_refused_callbacks_are_shown_to_a_role_that_may_not_read_the_payments(engine, as_role):
    """If the role cannot read the payments, the refused callbacks are shown, and none counts as closed."""
    orders = Orders(engine).pay("FAILED").callback("COMPLETED", "refused", "late")
    assert refused_lately(as_role(USAGE), 9) is None
    found = refused_lately(as_role("GRANT SELECT ON payctl.webhook_receipts, payctl.run_items TO {role}"), 9)
    assert ([each.id for each in found.refused], found.closed) == (orders.receipts, 0)
