"""Test that every SQL statement on a screen can be copied into psql."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.cli.app.failures import describe
from ticketbottle_payctl.cli.output.machine import Invocation, as_json
from ticketbottle_payctl.cli.output.output_format import Colour
from ticketbottle_payctl.cli.output.result import Result
from ticketbottle_payctl.cli.output.writer import tell_failure
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment

HOUR = timedelta(hours=1)
PROFILE = '[profiles.prod]\nDATABASE_URL = "postgresql://u@h/d"\n'
LATE = """
    UPDATE outbox SET "aggregateId" = '{0}', "eventType" = 'PAYMENT_FAILED',
        payload = payload || '{{"order_code": "{1}"}}'
"""


@pytest.fixture
def pasted(terminal):
    """Return a function that runs payctl at 80 columns, and returns its SQL lines without the indentation.

    Text that is wider than the terminal is one line if payctl did not break it.
    """

    def run(*arguments, **environment):
        with terminal(*arguments, NO_COLOR="1", **environment) as it:
            it.finish()
            lines = it.sent.decode().splitlines()
        words = ("UPDATE ", "SELECT ", "ALTER ", "GRANT ")
        found = [line.strip() for line in lines if any(word in line for word in words)]
        assert found, lines
        return found

    return run


@pytest.mark.postgres
@pytest.mark.parametrize("command", ["show", "stats", "doctor"])
def test_the_statement_that_stops_a_late_failure_has_a_line_of_its_own(pasted, engine, database_url, command):
    """`show`, `stats` and `doctor` print this statement whole, with a semicolon and without backticks."""
    with engine.begin() as connection:
        paid = insert_payment(connection, order_code="TB-LATE", status="COMPLETED", age=HOUR)
        insert_events(connection, 1, age=HOUR, payload_bytes=0)
        connection.exec_driver_sql(LATE.format(paid.id, paid.order_code))
        event = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()
    named = {"show": ["TB-LATE"], "stats": [], "doctor": ["--only", "backlog"]}
    (sql,) = pasted(command, *named[command], DATABASE_URL=database_url)
    assert sql.startswith('UPDATE outbox SET "retryCount" = ')
    assert sql.endswith(f"WHERE id = '{event}' AND NOT published;")


@pytest.mark.postgres
def test_the_advice_of_a_cleanup_has_a_line_of_its_own(pasted, engine, database_url):
    """After a cleanup, the statement for the owner of the table is printed whole, with a semicolon."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published", age=24 * 8 * HOUR, payload_bytes=0)
    (sql,) = pasted("cleanup", "-y", DATABASE_URL=database_url)
    assert (sql.startswith("ALTER TABLE outbox SET ("), sql.endswith("autovacuum_analyze_scale_factor = 0.02);")) == (
        True,
        True,
    )


def test_the_statement_of_an_error_has_a_line_of_its_own(pasted, tmp_path):
    """If an error's hint needs a statement, the statement is printed whole on the next line, with a semicolon."""
    file = tmp_path / "config.toml"
    file.write_text(f'{PROFILE}[profiles.prod.guard]\nsystem_identifier = "x"\n')
    assert pasted("stats", "--config", str(file), "-p", "prod") == [
        "SELECT system_identifier FROM pg_control_system();"
    ]


def test_the_hint_of_an_error_contains_the_statement_in_json(capsys):
    """In a JSON document, the hint ends with the statement. On the screen, the statement has its own line."""
    failure = describe(ConfigError("no", hint="run in psql", sql="GRANT ALL ON all_tables TO payctl"), "help")
    document = as_json(
        Result("payctl.error/1", failure.exit_code, error=failure), Invocation("stats", None, datetime.now(UTC), 1)
    )
    assert '"hint": "run in psql: GRANT ALL ON all_tables TO payctl"' in document
    tell_failure(failure, Colour.NEVER)
    assert capsys.readouterr().err == ("error[CONFIG]: no\ntry: run in psql:\n  GRANT ALL ON all_tables TO payctl;\n")
