"""Test that every command that writes exits with 7 and changes nothing if a guard forbids the change."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest

from tests.cli.money import refused_money
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events

pytestmark = pytest.mark.postgres

ORDER = "TB-TEST-20261123-GUARDED1"
NOWHERE = "127.0.0.1:1"
CONFIG = """
[profiles.archive.guard]
read_only = true
[profiles.prod.guard]
protected = true
"""
SIMULATED = ["simulate", "momo", "paid", "--order-code", ORDER]
WRITING = {
    "process-webhook": [["process-webhook", "--query", "vnp_x=1", "--provider", "vnpay"]],
    "publish-outbox": [["publish-outbox"]],
    "replay": [["replay", "--failed", "-y"]],
    "close": [["close", ORDER, "-y"], ["close", "HARMLESS", "-y"]],
    "runs resume": [["runs", "resume", "RUN", "-y"]],
    "runs cancel": [["runs", "cancel", "RUN", "-y"]],
    "cleanup": [["cleanup"], ["cleanup", "--older-than", "1d", "-y"]],
    "reconcile payments": [["reconcile", "payments", "-y"]],
    "gateways register-webhook": [
        ["gateways", "register-webhook", "payos", "https://shop.example/webhook/payos", "-y"]
    ],
    "simulate": [[*SIMULATED, "--to", "process-webhook"], [*SIMULATED, "--url", f"http://{NOWHERE}"]],
    "listen": [["listen", "--port", "0"]],
    "demo": [["demo"]],
    "doctor": [["doctor", "--fix-published-flags", "-y"]],
    "db upgrade": [["db", "upgrade"]],
    "cdc cut-over": [["cdc", "cut-over", "-y"]],
    "cdc mark": [["cdc", "mark"]],
    "cdc cut-back": [["cdc", "cut-back", "-y"]],
}
PLANNED_BESIDE_DEBEZIUM = {"cdc cut-over", "cdc cut-back"}
"""Commands whose plan needs Kafka and logical decoding. The tests in tests/cdc run them with a protected profile."""


def each(but=frozenset()):
    """Return a pytest mark that runs a test once for each command that writes, except for the commands in ``but``."""
    cases = [(name, arguments) for name, every in WRITING.items() if name not in but for arguments in every]
    return pytest.mark.parametrize(("name", "arguments"), cases, ids=[" ".join(arguments) for _, arguments in cases])


@pytest.fixture
def world(engine, database_url, tmp_path, answer):
    """Yield an environment with work for every command. ``RUN`` is the id of a run that can be resumed.

    ``HARMLESS`` is the id of a dead event that a person can close.
    """
    with engine.begin() as connection:
        refused_money(
            connection,
            insert_payment(connection, provider="MOMO", order_code=ORDER, reference=ORDER, age=timedelta(hours=1)),
        )
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED' WHERE status = 'FAILED'")
        harmless = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()
        insert_events(connection, 2, state="dead")
        insert_events(connection, 2, state="sent_unmarked")
        insert_events(connection, 2, state="published", age=timedelta(days=30))
    file = tmp_path / "config.toml"
    file.write_text(CONFIG, "utf-8")
    with serving(Gateways(states={ORDER: "paid"})) as gateways:
        environment = {
            "DATABASE_URL": database_url, "PAYCTL_CONFIG": str(file), "KAFKA_BROKERS": NOWHERE, **gateways.environment,
        }  # fmt: skip
        canary = ["replay", "--failed", "-y", "--canary", "1", "--canary-timeout", "1ms"]
        yield {**environment, "RUN": answer(*canary, **environment)["run_id"], "HARMLESS": harmless}
        assert gateways.entered == []


@each()
def test_a_read_only_profile_refuses_every_writing_command(name, arguments, world, content, answer):
    """With a read-only profile, every command that writes exits with 7 and changes nothing, whatever its options."""
    before = content()
    document = answer(*_typed(arguments, world), "-p", "archive", *_accepted(name, "archive"), **world)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD"), document["error"]
    assert "archive is " in document["error"]["message"]
    assert content() == before


@each(but=PLANNED_BESIDE_DEBEZIUM)
def test_a_protected_profile_refuses_every_writing_command_without_reason_and_name(
    name, arguments, world, content, answer
):
    """With a protected profile, every command that writes exits with 7 if --reason and --confirm are missing."""
    before = content()
    document = answer(*_typed(arguments, world), "-p", "prod", **world)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD"), document["error"]
    if "confirm" in _parameters(name):
        assert "--reason TEXT --confirm prod" in document["error"]["hint"]
    assert content() == before


def test_every_writing_command_has_a_guard_test():
    """This file's table lists every command that writes."""
    assert set(WRITING) == {entry.name for entry in registry.COMMANDS if entry.writes}


@pytest.mark.parametrize("entry", registry.COMMANDS, ids=lambda entry: entry.name)
def test_a_reading_command_has_no_option_for_approval(entry):
    """Every command with an option such as --dry-run or --yes is registered as a command that writes."""
    assert entry.writes or not {"dry_run", "yes", "reason", "max_affected", "confirm"} & _parameters(entry.name)


def _typed(arguments, world):
    return [world[word] if word in {"RUN", "HARMLESS"} else word for word in arguments]


def _accepted(name, profile):
    given = {"reason": ["--reason", "why"], "confirm": ["--confirm", profile]}
    return [word for option, words in given.items() if option in _parameters(name) for word in words]


def _parameters(name):
    return set(inspect.signature(registry.find(tuple(name.split())).load()).parameters)
