"""Test that a command does its work even if its run cannot be recorded, and says in one sentence what is missing."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import pytest

from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment

pytestmark = pytest.mark.postgres

ROLE, PASSWORD = "payctl_unrecorded", "a-password-of-this-test"
SAMPLE = samples()["zalopay"]
DATA = json.loads(json.loads(SAMPLE.request.body)["data"])
REASON = ["--reason", "ticket 4711"]
COMMANDS = {
    "process-webhook": ["process-webhook", "CALLBACK"],
    "publish-outbox": ["publish-outbox", "--on-dead", "release"],
    "cleanup": ["cleanup"],
}
CODES = {"publish-outbox": 6}  # a customer waits for the dead event
WORK = """SELECT concat_ws(' ', (SELECT count(*) FROM payments WHERE status = 'COMPLETED'),
    (SELECT count(*) FROM outbox), (SELECT count(*) FROM outbox WHERE published))"""
RUNS = "SELECT concat_ws(' ', id, status, reason) FROM payctl.runs"
DENIED = "the database role lacks a privilege: permission denied for table {}; see docs/how-to/database-roles.md"
NOTHING = "the run and its reason were not recorded: "
NO_END = "the end of run {} was not recorded, so `payctl runs` shows it as interrupted: "

# what the role lacks, the commands that then have no complete record, and the warning
LACKS = {
    "INSERT ON payctl.runs": (COMMANDS, NOTHING + DENIED.format("runs")),
    "UPDATE ON payctl.runs": (COMMANDS, NO_END + DENIED.format("runs")),
    "INSERT ON payctl.run_items": (["process-webhook"], NO_END + DENIED.format("run_items")),
}
CASES = [(command, lacks) for lacks, (commands, _) in LACKS.items() for command in commands]


@pytest.fixture
def world(engine, database_url, mock_kafka, tmp_path):
    """Yield an environment with work for each command. The environment's database role is allowed to do everything."""
    with engine.begin() as connection:
        insert_payment(connection, amount=DATA["amount"], reference=DATA["app_trans_id"])
        insert_events(connection, 1, state="dead")
        insert_events(connection, 2)
        insert_events(connection, 2, state="published", age=timedelta(days=30))
        connection.exec_driver_sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA payctl TO {ROLE}")
        for schema in ("public", "payctl"):
            connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {ROLE}")
    (tmp_path / "callback.json").write_bytes(SAMPLE.request.body)
    parts = urlsplit(database_url)
    own = urlunsplit(parts._replace(netloc=f"{ROLE}:{PASSWORD}@{parts.hostname}:{parts.port}"))
    keys = {field.env: SAMPLE.credentials[field.name][0].reveal() for field in GATEWAYS[SAMPLE.gateway].fields}
    yield {"DATABASE_URL": own, "KAFKA_BROKERS": mock_kafka.bootstrap, **keys}
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@pytest.fixture
def run(world, answer, tmp_path):
    """Return a function that runs one of the commands and returns its document."""

    def typed(name, *options):
        words = [str(tmp_path / "callback.json") if word == "CALLBACK" else word for word in COMMANDS[name]]
        document = answer(*words, *options, **world)
        assert document["exit_code"] == CODES.get(name, 0), document
        return document

    return typed


@pytest.mark.parametrize(("name", "lacks"), CASES)
def test_a_command_says_what_was_not_recorded(name, lacks, run, execute):
    """If a run cannot be recorded, its command does the work, prints one warning and does not show a run id.

    The database has no record of the run, or a record without an end.
    """
    before = execute(WORK)
    execute(f"REVOKE {lacks.replace(' ON ', ' ON TABLE ')} FROM {ROLE}")
    document = run(name, *REASON)
    runs = [each.partition(" ") for each in execute(RUNS)]
    warnings = [each for each in document["warnings"] if "not recorded" in each]
    assert warnings == [LACKS[lacks][1].format(runs[0][0] if runs else "")]
    assert [each[2] for each in runs] == ["running ticket 4711"] * (lacks != "INSERT ON payctl.runs")
    assert document["run_id"] is None
    assert execute(WORK) != before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_recorded_command_shows_its_run_and_no_warning(name, run, execute):
    """If the role is allowed to write the record, the document has the run's id and no warning about the record."""
    document = run(name, *REASON)
    assert execute(RUNS) == [f"{document['run_id']} done ticket 4711"]
    assert not [each for each in document["warnings"] if "record" in each]


@pytest.mark.parametrize(("name", "warned"), [("process-webhook", 1), ("publish-outbox", 1), ("cleanup", 0)])
def test_without_a_reason_only_a_scheduled_command_is_silent(name, warned, run, execute):
    """A command that an operator runs warns even if no reason is given.

    A cleanup does not warn, because its usual role is not allowed to record runs.
    """
    execute(f"REVOKE INSERT ON TABLE payctl.runs FROM {ROLE}")
    said = [each for each in run(name)["warnings"] if "recorded" in each]
    assert said == ["the run was not recorded: " + DENIED.format("runs")] * warned


@pytest.mark.parametrize(("name", "lacks"), CASES)
def test_the_screen_says_what_was_not_recorded(name, lacks, world, invoke, execute, tmp_path):
    """If a run cannot be recorded, the screen shows a warning that says so, and does not show the `run` field."""
    execute(f"REVOKE {lacks.replace(' ON ', ' ON TABLE ')} FROM {ROLE}")
    words = [str(tmp_path / "callback.json") if word == "CALLBACK" else word for word in COMMANDS[name]]
    ran = invoke(*words, *REASON, **world)
    text = " ".join((ran.stdout + ran.stderr).split())
    assert ran.exit_code == CODES.get(name, 0)
    assert LACKS[lacks][1].partition("{}")[0] in text
    assert not [each for each in ran.stdout.splitlines() if each.split()[:1] == ["run"]]
