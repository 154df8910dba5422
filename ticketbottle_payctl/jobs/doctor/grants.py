"""Check the database role's privileges, and show the SQL that grants the missing ones."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from ticketbottle_payctl.jobs.doctor.database import no_usage
from ticketbottle_payctl.jobs.doctor.expected import PRIVILEGES
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.store.db.missing_usage import missing_usage
from ticketbottle_payctl.store.inspect import server as servers
from ticketbottle_payctl.store.inspect import tables
from ticketbottle_payctl.store.inspect.tables import PAYCTL, Privilege


def grants(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that the role has every privilege for at least one task.

    Warn about other tasks that the role is probably meant for, but lacks privileges for.
    """
    if (lacks := missing_usage(connection, subject.schema)) is not None:
        return [no_usage("grants", lacks)]
    role = servers.server(connection).role
    held = {task: tables.privileges(connection, wanted) for task, wanted in PRIVILEGES.items()}
    may = [
        task
        for task, wanted in PRIVILEGES.items()
        # payctl's own tables may be missing; the `schema` check reports this
        if all(held[task].get(one, "." in one.table) for one in wanted)
    ]
    explained = {one for task in may for one in held[task]}
    missing = {task: [one for one, has in held[task].items() if not has] for task in held if task not in may}
    partly: list[Finding] = []
    # Two tasks can write the same columns. The role is meant for the task for which it lacks the fewest privileges.
    for task in sorted(missing, key=lambda task: len(missing[task])):
        if _is_meant(held[task], explained):
            partly += _lacks(connection, task, role, missing[task], subject.schema)
            explained |= set(held[task])
    if tables.may_create(connection):
        may.append("db upgrade")
    if may:
        return [ok("grants", f"role {role} can: {' · '.join(may)}"), *partly]
    meaning = "no command that uses the database will work"
    none = fail(
        "grants",
        f"role {role} does not have the privileges for any task",
        meaning,
        "grant it the privileges that docs/how-to/database-roles.md lists",
    )
    return [none, *partly]


def _is_meant(held: dict[Privilege, bool], explained: set[Privilege]) -> bool:
    """Return whether the role is probably meant for this task.

    A role is meant for a task if the role has a write privilege on the service's tables that the task needs and that
    ``explained`` does not contain.
    """
    of_service = {one: has for one, has in held.items() if "." not in one.table and one.kind != "SELECT"}
    return any(has and one not in explained for one, has in of_service.items())


def _lacks(connection: Connection, task: str, role: str, missing: list[Privilege], schema: str) -> Iterator[Finding]:
    """Yield a finding for each owner, because only a table's or schema's owner can grant privileges on it."""
    granted = tables.privileges(connection, missing, without_usage=True)
    lacking = [one for one in missing if not granted[one]]
    if any("." in one.table for one in missing) and not tables.may_use_payctl(connection):
        lacking.append(Privilege(PAYCTL, "USAGE"))
    owners = tables.owners(connection, [one.table for one in lacking])
    for owner in dict.fromkeys(owners[one.table] for one in lacking):
        yield _lacks_from(owner, task, role, [one for one in lacking if owners[one.table] == owner], schema)


def _lacks_from(owner: str, task: str, role: str, missing: list[Privilege], schema: str) -> Finding:
    first = missing[0]
    lacks = f"{first.kind} on {first.table}" + (f' ("{first.column}")' if first.column else "")
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    meaning = "a command that needs the missing privilege ends with exit code 3"
    fact = f"role {role} can do only part of {task}; it lacks {lacks}{more}"
    tables_of = list(dict.fromkeys(one.table for one in missing))
    statements = [_grant(role, table, [one for one in missing if one.table == table], schema) for table in tables_of]
    return warn("grants", fact, meaning, f"as the user {owner}, run", sql="; ".join(statements))


def _grant(role: str, table: str, missing: list[Privilege], schema: str) -> str:
    columns: dict[str, list[str]] = {}
    for one in missing:
        columns.setdefault(one.kind, []).extend([f'"{one.column}"'] if one.column else [])
    kinds = ", ".join(f"{kind} ({', '.join(names)})" if names else kind for kind, names in columns.items())
    on = table if "." in table or table == PAYCTL else f'"{schema}".{table}'
    return f'GRANT {kinds} ON {on} TO "{role}"'
