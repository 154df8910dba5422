"""Test that every command that changes payments or events records its run, unless the run is routine."""

from __future__ import annotations

import json
from datetime import timedelta
from enum import StrEnum

import pytest

from tests.cli.money import refused_money
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events

pytestmark = pytest.mark.postgres

ORDER = "TB-TEST-20261123-RECORDED"
CONFIG = "[profiles.prod.guard]\nprotected = true\n"
SAMPLE = samples()["zalopay"]
DATA = json.loads(json.loads(SAMPLE.request.body)["data"])
REASON = ["--reason", "ticket 4711"]


class Record(StrEnum):
    """The kinds of record that a command can make."""

    RUN = "its own run"
    ACT = "an action on the run that it names"
    NOTHING = "no record: a deployment runs this command all the time"
    NO_ROW = "no record: it changes no payment and no event"
    REFUSED = "no record: it is for development, and refused in production"
    ELSEWHERE = "tests/cdc, because it needs a logical log and Apache Kafka"


EVERY = {
    "process-webhook": [(["process-webhook", "CALLBACK", *REASON], Record.RUN)],
    "publish-outbox": [
        (["publish-outbox"], Record.NOTHING),
        (["publish-outbox", "--on-dead", "block", *REASON], Record.NOTHING),
        (["publish-outbox", "--on-dead", "release", *REASON], Record.RUN),
    ],
    "replay": [(["replay", "--failed", "-y", *REASON], Record.RUN)],
    "close": [
        (["close", ORDER, "-y", *REASON], Record.RUN),
        (["close", "HARMLESS", "-y", *REASON], Record.RUN),
    ],
    "runs resume": [(["runs", "resume", "RUN", "-y", *REASON], Record.ACT)],
    "runs cancel": [(["runs", "cancel", "RUN", "-y", *REASON], Record.ACT)],
    "cleanup": [
        (["cleanup", *REASON], Record.RUN),
        (["cleanup", "--older-than", "1d", "-y", *REASON], Record.RUN),
    ],
    "reconcile payments": [(["reconcile", "payments", "-y", *REASON], Record.RUN)],
    "doctor": [(["doctor", "--fix-published-flags", "-y", *REASON], Record.RUN)],
    "gateways register-webhook": [
        (["gateways", "register-webhook", "payos", "https://shop.example/webhook/payos", "-y"], Record.NO_ROW)
    ],
    "db upgrade": [(["db", "upgrade"], Record.NO_ROW)],
    "simulate": [(["simulate", "momo", "paid", "--order-code", ORDER, "--to", "process-webhook"], Record.REFUSED)],
    "listen": [(["listen", "--port", "0"], Record.REFUSED)],
    "demo": [(["demo"], Record.REFUSED)],
    "cdc cut-over": [([], Record.ELSEWHERE)],
    "cdc mark": [([], Record.ELSEWHERE)],
    "cdc cut-back": [([], Record.ELSEWHERE)],
}
CODES = {"publish-outbox": 6, "runs resume": 10}
"""The exit codes that are not 0.

One command reports that a customer is waiting for a dead event, and the other that the canary is not yet published.
"""

CASES = [
    pytest.param(name, arguments, record, id=" ".join(arguments))
    for name, every in EVERY.items()
    for arguments, record in every
    if record is not Record.ELSEWHERE
]


@pytest.fixture
def world(engine, database_url, mock_kafka, tmp_path, answer):
    """Yield an environment with work for every command. ``RUN`` is the id of a run that has not ended.

    ``HARMLESS`` is the id of a dead event that a person can close.
    """
    with engine.begin() as connection:
        refused_money(
            connection,
            insert_payment(connection, provider="MOMO", order_code=ORDER, reference=ORDER, age=timedelta(hours=1)),
        )
        insert_payment(
            connection, amount=DATA["amount"], reference=DATA["app_trans_id"], order_code=DATA["app_trans_id"][7:]
        )
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED' WHERE status = 'FAILED'")
        harmless = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()
        insert_events(connection, 2, state="dead")
        insert_events(connection, 2)
        insert_events(connection, 2, state="sent_unmarked")
        insert_events(connection, 2, state="published", age=timedelta(days=30))
    config, callback = tmp_path / "config.toml", tmp_path / "callback.json"
    config.write_text(CONFIG, "utf-8")
    callback.write_bytes(SAMPLE.request.body)
    with serving(Gateways(states={ORDER: "paid"})) as gateways:
        environment = {
            "DATABASE_URL": database_url, "PAYCTL_CONFIG": str(config), "KAFKA_BROKERS": mock_kafka.bootstrap,
            **gateways.environment,
        }  # fmt: skip
        canary = ["replay", "--failed", "-y", "--canary", "1", "--canary-timeout", "1ms"]
        run = answer(*canary, **environment)["run_id"]
        keys = {field.env: SAMPLE.credentials[field.name][0].reveal() for field in GATEWAYS[SAMPLE.gateway].fields}
        yield {
            "environment": environment,
            "keys": keys,
            "words": {"RUN": run, "CALLBACK": str(callback), "HARMLESS": harmless},
        }


@pytest.fixture
def recorded(answer, world):
    """Return a function that returns the runs in `payctl runs list` as a dictionary keyed by run id."""

    def read():
        return {run["id"]: run for run in answer("runs", "list", **world["environment"])["items"]}

    return read


@pytest.mark.parametrize(("name", "arguments", "record"), CASES)
def test_a_command_that_changes_payments_or_events_is_recorded(
    name, arguments, record, world, recorded, answer, content, invoke
):
    """A command's record contains the command, operator, reason and counts.

    The record also lists the changed rows, or says that it contains only counts. A routine command is not recorded.
    """
    before, rows = recorded(), content()
    typed = [world["words"].get(word, word) for word in arguments]
    environment = world["environment"] | (world["keys"] if name == "process-webhook" else {})
    if record is Record.REFUSED:
        typed += ["-p", "prod"]
    document = answer(*typed, **environment, PAYCTL_ACTOR="an operator")
    assert document["exit_code"] == CODES.get(name, 7 if record is Record.REFUSED else 0), document
    new = {run_id: run for run_id, run in recorded().items() if run_id not in before}
    if record is not Record.RUN:
        assert (new, document["run_id"]) == ({}, world["words"]["RUN"] if record is Record.ACT else None)
    if record is Record.ACT:
        (act,) = recorded()[world["words"]["RUN"]]["acts"]
        assert (act["actor"], act["reason"]) == ("an operator", "ticket 4711")
    elif record is Record.RUN:
        (run,) = new.values()
        assert run["command"].startswith(name)
        assert (run["id"], run["actor"], run["reason"]) == (document["run_id"], "an operator", "ticket 4711")
        assert run["status"] == "done"
        assert sum(run["counts"].values()) > 0
        rows_listed = bool(answer("runs", "show", run["id"], **environment)["items"])
        shown = invoke("runs", "show", run["id"], **environment).stdout
        assert (f"{run['command']} records only counts, not each row" in shown) is not rows_listed
    elif record is Record.NO_ROW:
        after = content()
        assert all(after[table] == rows[table] for table in ("public.payments", "public.outbox"))


def test_every_writing_command_has_a_record_test():
    """This file's table of records lists every command that writes."""
    assert set(EVERY) == {entry.name for entry in registry.COMMANDS if entry.writes}
