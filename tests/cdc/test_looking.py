"""Test the output of ``stats`` and ``doctor`` for an outbox that Debezium publishes."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.extras import LogicalReplicationConnection
from typer.testing import CliRunner

from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import Subject, diagnose
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.outbox.debezium_names import PUBLICATION, SLOT

LATE = timedelta(minutes=10)


@pytest.fixture
def slot(logical, engine, database_url):  # noqa: ARG001 - restarts the server that the database is in
    """Yield a function that connects a reader to Debezium's replication slot if ``active`` is true.

    The slot exists before the first call.
    """
    opened = []
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE outbox")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")

    def run(*, active):
        if active:
            opened.append(psycopg2.connect(database_url, connection_factory=LogicalReplicationConnection))
            options = {"proto_version": "1", "publication_names": PUBLICATION}
            opened[0].cursor().start_replication(slot_name=SLOT, options=options)

    yield run
    for each in opened:
        each.close()
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        wait_until(lambda: drops(cursor), what="the slot is dropped", timeout=20)


def drops(cursor):
    """Drop the slot if no reader is connected to it. Return the number of dropped slots."""
    cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
    return cursor.rowcount


@pytest.mark.usefixtures("slot")
def test_a_list_shows_no_event_as_blocked_while_debezium_publishes(engine, database_url):
    """Debezium sends an event even if an earlier event of the same payment is dead, so no event is shown as blocked."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", age=LATE)
        insert_events(connection, 1)
        connection.exec_driver_sql("""UPDATE outbox SET "aggregateId" = 'one'""")
    ran = CliRunner().invoke(app, ["list", "outbox", "-o", "json"], env={"DATABASE_URL": database_url})
    assert [item["blocked"] for item in json.loads(ran.stdout)["items"]] == [False, False]


@pytest.mark.parametrize(
    ("active", "event", "headline", "causes", "check"),
    [
        (True, {"state": "published"}, "✔  nothing is pending  Debezium is publishing this outbox", [], 0),
        (False, {"state": "published"}, "!  nothing is pending  Debezium is publishing this outbox", ["debezium"], 0),
        (True, {"age": LATE}, "!  oldest pending event: ", ["debezium"], 5),
        (False, {"age": LATE}, "!  oldest pending event: ", ["debezium"], 5),
        (True, {"state": "dead"}, "!  1 dead  Debezium is publishing this outbox", ["dead"], 5),
    ],
)
def test_stats_and_doctor_recognise_an_outbox_that_debezium_publishes(
    slot, engine, database_url, active, event, headline, causes, check
):
    """If Debezium's slot is active, payctl reports no missing publisher.

    If the slot is idle, payctl names Debezium as the cause.
    """
    slot(active=active)
    with engine.begin() as connection:
        insert_events(connection, 1, **event)
    environment = {"DATABASE_URL": database_url}
    assert CliRunner().invoke(app, ["stats"], env=environment).stdout.startswith(headline)
    document = json.loads(CliRunner().invoke(app, ["stats", "--check", "-o", "json"], env=environment).stdout)
    assert (document["exit_code"], document["result"]["by_debezium"]) == (check, True)
    assert [cause["cause"] for cause in document["result"]["causes"]] == causes
    findings = diagnose(subject_of(engine), ["publishers", "backlog"]).findings
    assert findings[0].fact == f"Debezium is publishing this outbox; its slot is {'active' if active else 'idle'}"
    assert [finding.status.value for finding in findings[1:]] == (["fail"] * len(causes) or ["ok"])


def subject_of(engine):
    """Return a subject for `diagnose` with a database but no brokers."""

    def absent():
        message = "not configured"
        raise ConfigError(message)

    return Subject(
        engine=lambda: engine, kafka=absent, producer=absent, credentials=lambda _: {}, now=lambda: datetime.now(UTC)
    )
