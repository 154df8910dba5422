"""Test that `payctl process-webhook` settles, refuses or previews a callback, and records its run."""

from __future__ import annotations

import json
import shlex
from uuid import uuid4

import pytest
from sqlalchemy import text

from ticketbottle_payctl.cli.commands import process_webhook
from ticketbottle_payctl.jobs.process_webhook import Alert
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.sandbox.payment_service import insert_payment

SAMPLE = samples()["zalopay"]
DATA = json.loads(json.loads(SAMPLE.request.body)["data"])
pytestmark = pytest.mark.postgres


def keys_of(sample):
    """Return a sample's keys as environment variables."""
    return {field.env: sample.credentials[field.name][0].reveal() for field in GATEWAYS[sample.gateway].fields}


@pytest.fixture
def pending(engine):
    """Insert the payment for the sample as PENDING and return it."""
    with engine.begin() as connection:
        return insert_payment(
            connection, amount=DATA["amount"], reference=DATA["app_trans_id"], order_code=DATA["app_trans_id"][7:]
        )


@pytest.fixture
def settle(answer, database_url, tmp_path):
    """Return a function that processes the sample's callback with the test's database."""
    file = tmp_path / "callback.json"
    file.write_bytes(SAMPLE.request.body)

    def run(*arguments, **environment):
        given = arguments if "--receipt" in arguments else (str(file), *arguments)
        return answer("process-webhook", *given, DATABASE_URL=database_url, **{**keys_of(SAMPLE), **environment})

    return run


def rows(engine, table):
    """Return a table's row count."""
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608


def test_process_webhook_settles_a_payment(settle, pending, engine):
    """After a settlement, the document of `process-webhook` has the old and new state, the event, receipt and reply."""
    document = settle()
    result = document["result"]
    assert (document["exit_code"], document["dry_run"]) == (0, False)
    assert (result["outcome"], result["status_before"], result["status_after"]) == ("settled", "PENDING", "COMPLETED")
    assert (result["payment_id"], result["order_code"]) == (pending.id, pending.order_code)
    assert json.loads(result["reply"]["body"])["return_code"] == 1
    with engine.connect() as connection:
        event = connection.execute(text('SELECT id, "aggregateId", payload FROM outbox')).one()
    assert event == (result["event_id"], pending.id, result["event"]["payload"])
    assert result["event"]["topic"] == "payment.completed"
    assert rows(engine, "payctl.webhook_receipts") == 1


def test_process_webhook_records_who_settled_which_payment(settle, pending, answer, database_url):
    """The recorded run of `process-webhook` contains the operator, the reason, and the payment before and after."""
    document = settle("--reason", "callback from the gateway's portal", PAYCTL_ACTOR="Lan")
    shown = answer("runs", "show", document["run_id"], DATABASE_URL=database_url)
    run, (row,) = shown["result"], shown["items"]
    assert (run["command"], run["status"], run["actor"]) == ("process-webhook", "done", "Lan")
    assert (run["reason"], run["counts"]) == ("callback from the gateway's portal", {"settled": 1})
    assert (run["selector"], run["options"]) == ({"provider": "zalopay"}, {})
    assert (row["id"], row["outcome"], row["before"]) == (pending.id, "settled", {"status": "PENDING"})
    assert row["after"] == {"status": "COMPLETED", "event_id": document["result"]["event_id"]}


def test_process_webhook_records_a_refused_and_a_repeated_callback(settle, answer, engine, database_url):
    """`process-webhook` also records a genuine callback that changes nothing, with the receipt's id."""
    refused = settle()
    with engine.begin() as connection:
        insert_payment(
            connection, amount=DATA["amount"], reference=DATA["app_trans_id"], order_code=DATA["app_trans_id"][7:]
        )
    settle("--receipt", refused["result"]["receipt_id"])
    settle()
    items = answer("runs", "list", DATABASE_URL=database_url)["items"]
    assert [(run["counts"], run["status"]) for run in items] == [
        ({"already_settled": 1}, "done"), ({"settled": 1}, "done"), ({"refused": 1}, "done"),
    ]  # fmt: skip
    assert items[1]["selector"] == {"provider": "zalopay", "receipt": refused["result"]["receipt_id"]}
    shown = answer("runs", "show", items[2]["id"], DATABASE_URL=database_url)["items"]
    assert [(row["id"], row["reason"]) for row in shown] == [(refused["result"]["receipt_id"], "unknown_order")]


def test_a_forged_callback_is_not_recorded(settle, answer, database_url):
    """`process-webhook` does not record a run for a forged callback, because the callback changes nothing."""
    assert settle(ZALOPAY_KEY2="another key")["run_id"] is None
    assert answer("runs", "list", DATABASE_URL=database_url)["items"] == []


@pytest.mark.parametrize("table", ["payctl.runs", "payctl.run_items"])
def test_process_webhook_settles_even_if_the_run_cannot_be_recorded(settle, pending, engine, table):
    """If a table for recorded runs is missing, `process-webhook` still settles the payment and exits with 0."""
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO gone"))
    document = settle()
    assert (document["exit_code"], document["result"]["outcome"]) == (0, "settled")
    with engine.connect() as connection:
        status = connection.execute(text("SELECT status::text FROM payments WHERE id = :id"), {"id": pending.id})
        assert status.scalar_one() == "COMPLETED"


@pytest.mark.usefixtures("pending")
def test_a_dry_run_of_process_webhook_writes_nothing(settle, engine):
    """With -n, `process-webhook` shows the change and the event, and then rolls back."""
    document = settle("-n")
    assert document["dry_run"]
    assert (document["result"]["outcome"], document["result"]["status_after"]) == ("settled", "COMPLETED")
    assert document["result"]["event"]["event_type"] == "PAYMENT_COMPLETED"
    assert rows(engine, "outbox") == rows(engine, "payctl.webhook_receipts") == 0


@pytest.mark.usefixtures("pending")
def test_receipt_processes_a_stored_callback_again(settle, engine):
    """`process-webhook --receipt` processes a stored callback again.

    If the payment is already settled, nothing changes.
    """
    receipt = settle()["result"]["receipt_id"]
    again = settle("--receipt", receipt)
    assert (again["exit_code"], again["result"]["outcome"]) == (0, "already_settled")
    assert rows(engine, "outbox") == 1


@pytest.mark.parametrize(
    "receipt", ["123e4567-e89b-12d3-a456-426614174000", "'; DROP TABLE outbox; --", "%s", "x" * 10_000]
)
def test_an_unknown_receipt_exits_with_8(receipt, settle, engine):
    """If the receipt is unknown, process-webhook exits with 8 and leaves the database unchanged."""
    document = settle("--receipt", receipt)
    assert (document["exit_code"], document["error"]["code"]) == (8, "NOT_FOUND")
    assert document["error"]["hint"] == "`payctl list receipts` lists the ids"
    assert rows(engine, "outbox") == 0


@pytest.mark.parametrize("other", [["file"], ["--query", "x"], ["--path", "/x"], ["--provider", "momo"]])
def test_a_receipt_cannot_be_combined_with_another_callback(other, answer, database_url):
    """process-webhook refuses --receipt together with another callback, because it would ignore one of them."""
    document = answer("process-webhook", *other, "--receipt", str(uuid4()), DATABASE_URL=database_url)
    assert document["exit_code"] == 2


def test_an_unknown_order_is_refused_with_an_alert(settle, engine):
    """If the order is unknown, process-webhook exits with 5, changes nothing, and prints a warning."""
    document = settle()
    assert (document["exit_code"], document["ok"]) == (5, False)
    assert (document["result"]["outcome"], document["result"]["reason"]) == ("refused", "unknown_order")
    assert document["result"]["alert"] == "unknown_order"
    assert document["warnings"]
    assert rows(engine, "outbox") == 0


def test_a_callback_with_a_wrong_amount_is_refused(settle, engine):
    """If the amount is wrong, process-webhook exits with 5, and the payment stays pending."""
    with engine.begin() as connection:
        insert_payment(connection, amount=1, reference=DATA["app_trans_id"])
    document = settle()
    assert (document["exit_code"], document["result"]["reason"]) == (5, "wrong_amount")
    assert document["result"]["status_after"] == "PENDING"


@pytest.mark.usefixtures("pending")
def test_a_forged_callback_changes_nothing(settle, engine):
    """`process-webhook` refuses a callback that is signed with the wrong key, and does not store a receipt."""
    document = settle(ZALOPAY_KEY2="another-key-of-another-merchant")
    assert (document["exit_code"], document["result"]["reason"]) == (5, "signature")
    assert document["result"]["receipt_id"] is None
    assert rows(engine, "payctl.webhook_receipts") == 0


@pytest.mark.parametrize("source", ["file", "event", "stdin"])
def test_the_error_for_a_refused_signature_names_the_key_and_a_command(source, invoke, database_url, tmp_path):
    """If a signature is refused, `process-webhook` names the key that it used, and suggests a command that works."""
    file = tmp_path / "my callback.json"
    body = SAMPLE.request.body.decode()
    http = {"version": "2.0", "rawPath": "/webhook/zalopay", "requestContext": {"http": {"method": "POST"}}}
    file.write_text(json.dumps({**http, "body": body}) if source == "event" else body, "utf-8")
    given = {"file": [str(file)], "event": ["--event", str(file)], "stdin": ["-"]}[source]
    environment = {**keys_of(SAMPLE), "ZALOPAY_KEY2": "canary-of-another-merchant"}
    result = invoke("process-webhook", *given, stdin=body, DATABASE_URL=database_url, **environment)
    first, key, advice, *_ = result.stdout.splitlines()
    assert first == "✘ refused:  ZaloPay  signature"
    assert key.startswith("  key   ZALOPAY_KEY2 (current), 26 characters, fingerprint ")
    assert "canary" not in result.stdout + result.stderr
    if source == "stdin":
        assert "payctl verify-signature" in advice
        return
    program, *command = shlex.split(advice.removeprefix("  try   "))
    explained = invoke(*command, **environment)
    assert (program, explained.exit_code) == ("payctl", 5)
    assert "signed text" in explained.stdout


def test_a_gateway_without_keys_is_a_configuration_error(settle):
    """process-webhook exits with 3 if the gateway has no keys, and the error names the variable."""
    document = settle(ZALOPAY_KEY2="")
    assert document["exit_code"] == 3
    assert "ZALOPAY_KEY2" in document["error"]["message"]


def test_a_database_without_payctls_schema_is_a_configuration_error(answer, empty_database_url, tmp_path):
    """Without payctl's schema, process-webhook exits with 3, and the hint names the command that creates it."""
    file = tmp_path / "callback.json"
    file.write_bytes(SAMPLE.request.body)
    document = answer("process-webhook", str(file), DATABASE_URL=empty_database_url, **keys_of(SAMPLE))
    assert document["exit_code"] == 3
    assert "payctl db upgrade" in document["error"]["hint"]


@pytest.mark.usefixtures("pending")
def test_process_webhook_shows_the_change_and_the_database(process, database_url, tmp_path):
    """`process-webhook` prints the change to stdout, and the names of the profile and database to stderr."""
    file = tmp_path / "callback.json"
    file.write_bytes(SAMPLE.request.body)
    environment = {"DATABASE_URL": database_url, **keys_of(SAMPLE)}
    dry = process("process-webhook", str(file), "-n", **environment)
    assert "✔ would be settled  ZaloPay" in dry.stdout
    assert "dry run:  everything was rolled back; nothing was written" in dry.stdout
    done = process("process-webhook", str(file), **environment)
    assert done.stdout.startswith("✔ settled  ZaloPay  order TB-LTDTNL-20251213-8D39986M  COMPLETED\n")
    assert "status\tPENDING → COMPLETED\n" in done.stdout
    assert done.stderr.startswith("profile none · database 127.0.0.1:")
    again = process("process-webhook", str(file), "-q", **environment)
    assert again.stdout.startswith("✔ already settled  ZaloPay")
    assert again.stderr == ""


@pytest.mark.usefixtures("pending")
def test_v_logs_one_line_for_a_settled_callback(process, database_url, tmp_path):
    """With -v, `process-webhook` logs one JSON line with the event's name and the decision."""
    file = tmp_path / "callback.json"
    file.write_bytes(SAMPLE.request.body)
    result = process("process-webhook", str(file), "-q", "-v", DATABASE_URL=database_url, **keys_of(SAMPLE))
    (line,) = map(json.loads, result.stderr.splitlines())
    assert (line["message"], line["level"], line["provider"]) == ("webhook_settled", "INFO", "zalopay")
    assert line["order_code"] == "TB-LTDTNL-20251213-8D39986M"


def test_every_alert_has_an_explanation():
    """`payctl process-webhook` explains each alert in a sentence."""
    assert set(process_webhook.ALERTS) == set(Alert)
