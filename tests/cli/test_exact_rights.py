"""Test that the privileges that `payctl doctor` requires for each task are sufficient and necessary."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pytest

from ticketbottle_payctl.jobs.doctor.expected import PRIVILEGES
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = pytest.mark.postgres

ROLE, PASSWORD = "payctl_exact", "a-password-of-this-test"
COMMANDS = {
    "stats": [["stats"], *(["stats", "--by", by] for by in ("type", "status", "error"))],
    "stats --by provider": [["stats", "--by", "provider"]],
    "list and show": [["list", "outbox"], ["list", "payments"], ["list", "receipts"], ["show"]],
}


@pytest.fixture
def granted(engine, database_url):
    """Yield a function that grants a role exactly the given privileges and returns the role's database URL."""

    def grant(rights):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA payctl TO {ROLE}")
            for one in rights:
                column = f' ("{one.column}")' if one.column else ""
                connection.exec_driver_sql(f"GRANT {one.kind}{column} ON {one.table} TO {ROLE}")
        parts = urlsplit(database_url)
        return urlunsplit(parts._replace(netloc=f"{ROLE}:{PASSWORD}@{parts.hostname}:{parts.port}"))

    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
    yield grant
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@pytest.fixture
def codes(engine, answer):
    """Return a function that returns the exit codes of a task's commands.

    The function also returns whether the doctor lists the task as allowed.
    """
    with engine.begin() as connection:
        insert_events(connection, 1, state="published")
        insert_payments_of_events(connection)
        event = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()

    def run(task, url):
        arguments = [[*command, event] if command == ["show"] else command for command in COMMANDS[task]]
        found = {answer(*each, DATABASE_URL=url)["exit_code"] for each in arguments}
        said = answer("doctor", "--only", "grants", DATABASE_URL=url)["items"][0]["fact"]
        return found, task in said.partition("can: ")[2].split(" · ")

    return run


@pytest.mark.parametrize("task", COMMANDS)
def test_the_required_privileges_are_enough(task, granted, codes):
    """With the required privileges, each command of a task works, and the doctor says that the task is allowed."""
    assert codes(task, granted(PRIVILEGES[task])) == ({0}, True)


@pytest.mark.parametrize(("task", "missing"), [(task, one) for task in COMMANDS for one in PRIVILEGES.get(task, ())])
def test_each_required_privilege_is_needed(task, missing, granted, codes):
    """If any required privilege is missing, a command exits with 3, and the doctor does not allow the task."""
    found, said = codes(task, granted([one for one in PRIVILEGES[task] if one != missing]))
    assert (3 in found, said) == (True, False)
