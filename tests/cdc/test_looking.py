"""Test the output of ``stats`` and ``doctor`` for an outbox that Debezium publishes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import Subject, diagnose
from ticketbottle_payctl.sandbox.payment_service import insert_events

LATE = timedelta(minutes=10)


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
        (True, {"state": "dead"}, "!  1 dead  Debezium is publishing this outbox", ["no_ticket", "dead"], 5),
    ],
)
def test_stats_and_doctor_recognise_an_outbox_that_debezium_publishes(
    slot, engine, database_url, active, event, headline, causes, check
):
    """If Debezium's slot is active, payctl does not report a missing publisher.

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
    """Return a doctor subject with a database but without brokers."""

    def absent():
        message = "not configured"
        raise ConfigError(message)

    return Subject(
        engine=lambda: engine, kafka=absent, producer=absent, credentials=lambda _: {}, now=lambda: datetime.now(UTC)
    )
