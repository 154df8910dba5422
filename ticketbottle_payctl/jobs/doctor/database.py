"""Check the database: its version, tables, clock and time zone."""

from __future__ import annotations

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.doctor.expected import COLUMNS, SAME_TYPE, STATUSES, WRITTEN
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.settings.protection import REMEDY
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.missing_usage import MissingUsage, missing_usage
from ticketbottle_payctl.store.inspect import server as servers
from ticketbottle_payctl.store.inspect import tables

_OLDEST_VERSION = 150_000
_UTC = frozenset(
    {"utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "zulu", "etc/zulu", "universal", "etc/universal"}
)
_CLOCK_WARN, _CLOCK_FAIL = 1.0, 30.0
_FUTURE = 60.0


def server(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that the server can be reached, is new enough and accepts writes, and that the connection is protected."""
    found = servers.server(connection)
    name = f"PostgreSQL {found.version // 10_000}.{found.version % 10_000}, database {found.database} as {found.role}"
    findings = [ok("database", name)]
    if found.version < _OLDEST_VERSION:
        findings = [warn("database", name, "payctl is tested on PostgreSQL 15 and later")]
    if found.standby:
        meaning = "payctl cannot settle callbacks or publish events through this server"
        remedy = "set DATABASE_URL to the primary (for a failover pair, to its cluster address)"
        findings.append(fail("database", "the server is a read-only standby", meaning, remedy))
    if subject.unprotected:
        meaning = "another machine in the network may read payers' data, or pose as the server"
        findings.append(warn("database", subject.unprotected, meaning, REMEDY))
    return findings


def columns(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that the payment service's two tables have the columns that payctl reads and writes."""
    if (lacks := missing_usage(connection, subject.schema)) is not None:
        return [no_usage("columns", lacks)]
    findings = [finding for table in COLUMNS for finding in _table(connection, table)]
    labels = tables.labels(connection, "payments", "status")
    absent = [status for status in STATUSES if labels and status not in labels]
    if absent:
        meaning = "a callback with that outcome cannot be settled"
        findings.append(fail("columns", f"payments.status cannot be {', '.join(absent)}", meaning, _MIGRATE))
    total = sum(map(len, COLUMNS.values()))
    return findings or [ok("columns", f"payments and outbox have all {total} columns that payctl uses")]


def no_usage(check: str, lacks: MissingUsage) -> Finding:
    """Return a finding about a role that cannot use the schema of the payment service's tables."""
    meaning = "to this role, the tables payments and outbox seem to be missing, so no command can read them"
    return fail(check, lacks.fact, meaning, f"as the user {lacks.owner}, run", sql=lacks.grant)


_MIGRATE = "run the payment service's own migrations: payctl does not change its tables"


def _table(connection: Connection, table: str) -> list[Finding]:
    there = {column.name: column for column in tables.columns(connection, table)}
    if not there:
        meaning = "DATABASE_URL names the wrong database, or the payment service's migrations were not run"
        remedy = "check DATABASE_URL, including its ?schema= parameter"
        return [fail("columns", f"table {table} does not exist", meaning, remedy)]
    findings = []
    for name, wanted in COLUMNS[table].items():
        if name not in there:
            findings.append(
                fail("columns", f'column {table}."{name}" does not exist', "payctl's statements use it", _MIGRATE)
            )
        elif SAME_TYPE.get(there[name].type, there[name].type) != wanted:
            fact = f'{table}."{name}" is {there[name].type}, not {wanted}'
            findings.append(fail("columns", fact, "values could be read or written incorrectly", _MIGRATE))
    if table == "outbox":
        extra = [one.name for one in there.values() if one.required and one.name not in WRITTEN]
        if extra:
            fact = f"outbox.{', '.join(extra)} is required, and payctl has no value for it"
            findings.append(fail("columns", fact, "no event can be written", "give the column a default"))
    return findings


def own_schema(subject: Subject) -> list[Finding]:
    """Check that the ``payctl`` schema has every migration of this version."""
    status = migrations.status(subject.engine())
    unknown = sorted(set(status.applied) - {step.name for step in migrations.known()})
    if status.pending:
        meaning = "commands can fail or be slow, because they use what these migrations create"
        fact = f"schema payctl lacks {', '.join(status.pending)}"
        owner = migrations.other_owner(subject.engine())
        remedy = f"as {owner} ({migrations.url_of(owner)}), run" if owner else None
        return [fail("schema", fact, meaning, remedy, Command(("db", "upgrade"), changes=True))]
    if unknown:
        meaning = "a newer payctl has migrated this database; this version might not know its tables"
        return [
            warn(
                "schema",
                f"schema payctl has {', '.join(unknown)}, unknown to this version",
                meaning,
                "update this payctl",
            )
        ]
    return [ok("schema", f"schema payctl is at {status.applied[-1]}")]


def time_zone(connection: Connection, _: Subject) -> list[Finding]:
    """Check that sessions that write events use UTC.

    The default value of ``"createdAt"`` depends on the session's time zone.
    """
    found = servers.server(connection)
    settings = servers.zone_settings(connection)
    findings = []
    if found.zone.lower() not in _UTC and found.role not in {one.role for one in settings}:
        fact = f"sessions of {found.role} start in the time zone {found.zone}"
        sql = f"ALTER DATABASE \"{found.database}\" SET timezone TO 'UTC'"
        findings.append(warn("time-zone", fact, _DEFAULT_FOLLOWS, sql=sql))
    for setting in settings:
        if setting.zone.lower() not in _UTC and setting.role is not None:
            fact = f"sessions of {setting.role} start in the time zone {setting.zone}"
            sql = f"ALTER ROLE {setting.role}{_where(setting)} SET timezone TO 'UTC'"
            findings.append(warn("time-zone", fact, _DEFAULT_FOLLOWS, sql=sql))
    ahead = servers.seconds_ahead(connection)
    if ahead > _FUTURE:
        meaning = "a program writes events in local time; they are published late and their age is wrong"
        remedy = 'find that program: its sessions must use UTC, or it must write "createdAt" in UTC itself'
        findings.append(
            fail("time-zone", f"the newest event is dated {duration(ahead)} in the future", meaning, remedy)
        )
    return findings or [
        ok("time-zone", f"sessions start in the time zone {found.zone}, and no event is dated in the future")
    ]


def _where(setting: servers.ZoneSetting) -> str:
    return f' IN DATABASE "{setting.database}"' if setting.database else ""


_DEFAULT_FOLLOWS = 'a row with the default "createdAt" would get local time; payctl itself always writes UTC'


def clock(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that this machine's clock and the server's clock agree.

    The check corrects the difference by half the round-trip time.
    """
    before = subject.now()
    there = servers.clock(connection)
    after = subject.now()
    gap = (there - (before + (after - before) / 2)).total_seconds()
    if abs(gap) < _CLOCK_WARN:
        return [ok("clock", f"the clocks of this machine and the database differ by {duration(abs(gap))}")]
    fact = f"the database's clock is {duration(abs(gap))} {'ahead of' if gap > 0 else 'behind'} this machine's"
    meaning = "the ages in lists and the times in logs are wrong; payctl decides by the database's clock"
    remedy = "synchronise both machines with NTP (check with timedatectl status)"
    return [(fail if abs(gap) >= _CLOCK_FAIL else warn)("clock", fact, meaning, remedy)]
