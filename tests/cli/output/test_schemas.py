"""Test that every command's JSON output is valid against its JSON Schema and has no undocumented fields."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from jsonschema_rs import meta

from tests.cli.documents import validate
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.commands import schema
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment

SAMPLE = samples()["zalopay"]


def check(document):
    """Validate a document, and fail if it has a field that its schema does not describe."""
    found = validate(document)
    assert set(document) == set(found["$defs"]["envelope"]["properties"])
    described = {**found["properties"], **found.get("then", {}).get("properties", {})}
    if document["error"] is None:
        assert set(document["result"]) <= set(described.get("result", {}).get("properties", {}))
        for item in document["items"]:
            assert set(item) <= _properties(described["items"]["items"])
        if "additionalProperties" not in described.get("counts", {"additionalProperties": True}):
            assert set(document["counts"]) <= set(described["counts"]["properties"])


def _properties(item):
    """Return the names of the fields that any variant of an item has."""
    return {name for form in item.get("oneOf", [item]) for name in form["properties"]}


def fields(part, path=""):
    """Yield each field of a schema with its path, its types, its allowed values, and whether it is required."""
    for form in [part, *part.get("oneOf", [])]:
        for name, inner in form.get("properties", {}).items():
            kinds = inner.get("type", [])
            words = inner.get("enum", [inner["const"]] if "const" in inner else [])
            yield {
                "field": f"{path}{name}",
                "required": name in form.get("required", []),
                "types": sorted([kinds] if isinstance(kinds, str) else kinds),
                "words": sorted(map(str, words)),
            }
            yield from fields(inner, f"{path}{name}.")
        if isinstance(form.get("items"), dict):
            yield from fields(form["items"], f"{path}[].")


def described(name):
    """Return every field of an output, or of the envelope that all outputs share.

    A field appears once for each variant of an item.
    """
    if name == "envelope/1":
        return [*fields(schema.load("payctl.error/1")["$defs"]["envelope"])]
    found = schema.load(name)
    return [*fields({"properties": {**found["properties"], **found["then"]["properties"]}})]


PROMISED = json.loads((Path(__file__).parents[2] / "data" / "schema-fields.json").read_text("utf-8"))
"""The fields in version 1 of each output, from a file that must not change."""


@pytest.mark.parametrize("name", PROMISED)
def test_an_output_never_loses_a_field(name):
    """No field of version 1 disappears from an output, becomes optional, or gets other types or allowed values."""
    now = described(name)
    for promised in PROMISED[name]:
        assert any(_keeps(each, promised) for each in now if each["field"] == promised["field"]), promised


def _keeps(now, promised):
    return (
        now["required"] >= promised["required"]
        and set(now["types"]) <= set(promised["types"])
        and set(promised["words"]) <= set(now["words"])
    )


@pytest.mark.parametrize("name", schema.names())
def test_every_schema_is_a_valid_json_schema(name):
    """Each JSON Schema is valid and does not refer to other files."""
    meta.validate(schema.load(name))


@pytest.mark.parametrize(
    "arguments",
    [
        ["version"],
        ["completion", "zsh"],
        ["help", "exit-codes"],
        ["config", "show"],
        ["config", "path"],
        ["config", "validate"],
        ["schema"],
        ["schema", "verify-signature"],
        ["schema", "payctl.db-status/1"],
        ["schema", "db upgrade"],
        *(["verify-signature", "--example", name] for name in samples()),
        ["verify-signature", "--example", "payos", "--tamper", "amount", "--explain"],
        ["verify-signature"],
        ["verify-signature", "--bogus"],
        ["bogus"],
        ["db", "status"],
        ["doctor"],
        ["process-webhook"],
    ],
    ids=" ".join,
)
def test_a_document_is_valid_against_its_schema(arguments, answer):
    """Documents with results or with errors are valid against their schemas."""
    check(answer(*arguments))


@pytest.mark.postgres
def test_documents_of_database_commands_are_valid(answer, database_url, engine, tmp_path):
    """The documents about settled, repeated, refused and rolled-back callbacks are valid against their schemas."""
    data = json.loads(json.loads(SAMPLE.request.body)["data"])
    keys = {"ZALOPAY_APP_ID": "2554", "ZALOPAY_KEY2": SAMPLE.credentials["key2"][0].reveal()}
    file = tmp_path / "callback.json"
    file.write_bytes(SAMPLE.request.body)
    settle = ["process-webhook", str(file)]
    check(answer(*settle, DATABASE_URL=database_url, **keys))
    with engine.begin() as connection:
        insert_payment(connection, amount=data["amount"], reference=data["app_trans_id"])
    for arguments in ([*settle, "-n"], settle, settle, ["db", "status"], ["db", "upgrade", "-n"], ["doctor"]):
        check(answer(*arguments, DATABASE_URL=database_url, **keys))


def test_payctl_schema_prints_the_schema_without_the_envelope(invoke):
    """`payctl schema` prints a bare schema, without the usual document around it, so a validator can read it."""
    printed = json.loads(invoke("schema", "verify-signature").stdout)
    assert printed == schema.load("payctl.verify-signature/1")


def test_an_unknown_schema_exits_with_8(answer):
    """`payctl` exits with 8 for an unknown schema, and the hint lists the known schemas."""
    document = answer("schema", "../../secret")
    assert document["exit_code"] == 8
    assert "payctl.version/1" in document["error"]["hint"]


ORDER = "TB-TEST-20261123-SCHEMAS1"
CALLBACK = ["simulate", "momo", "paid", "--order-code", ORDER]
RUNS = {
    "verify-signature": [["verify-signature", "--example", "momo"]],
    "process-webhook": [["process-webhook", "--receipt", "RECEIPT"], ["process-webhook", "--receipt", "RECEIPT", "-n"]],
    "publish-outbox": [["publish-outbox", "-n"], ["publish-outbox"], ["publish-outbox", "-n"], ["publish-outbox"]],
    "replay": [["replay", "--failed", "-n"], ["replay", "--failed", "-y"]],
    "list outbox": [["list", "outbox", "--all"]],
    "list payments": [["list", "payments"]],
    "list receipts": [["list", "receipts"]],
    "show": [["show", ORDER], ["show", "EVENT"]],
    "close": [["close", f"{ORDER}C", "-n"], ["close", f"{ORDER}C", "-y", "--reason", "done"]],
    "errors": [["errors"]],
    "report": [["report"]],
    "runs list": [["runs", "list"]],
    "runs show": [["runs", "show", "RUN"]],
    "runs resume": [["runs", "resume", "RUN", "-y"]],
    "runs cancel": [["runs", "cancel", "RUN", "-y"]],
    "cleanup": [["cleanup", "-n"], ["cleanup"]],
    "stats": [["stats"], *(["stats", "--by", each] for each in ("type", "status", "provider", "error"))],
    "reconcile payments": [["reconcile", "payments", "-n"], ["reconcile", "payments", "-y"]],
    "simulate": [[*CALLBACK, "--to", "process-webhook"], [*CALLBACK, "-n"]],
    "doctor": [
        ["doctor"], ["doctor", "--fix-published-flags", "-n"], ["doctor", "--fix-published-flags", "-y"],
        ["doctor", "--fix-published-flags", "-y"],
    ],
    "gateways list": [["gateways", "list"]],
    "gateways register-webhook": [
        ["gateways", "register-webhook", "payos", "https://shop.example/payos", option] for option in ("-n", "-y")
    ],
    "config show": [["config", "show"]],
    "config path": [["config", "path"]],
    "config validate": [["config", "validate"]],
    "db upgrade": [["db", "upgrade", "-n"], ["db", "upgrade"]],
    "db status": [["db", "status"]],
    "cdc config": [["cdc", "config"]],
    "schema": [["schema"], ["schema", "stats"]],
    "completion": [["completion", "bash"]],
    "version": [["version"]],
    "help": [["help"], ["help", "times"], ["help", "replay"]],
}  # fmt: skip
ELSEWHERE = {
    "reconcile outbox": "cli/commands/reconcile/conftest.py",
    "listen": "cli/commands/test_listen.py",
    "demo": "acceptance/test_demo.py",
    "cdc cut-over": "cdc/test_refusals.py",
    "cdc mark": "cdc/test_refusals.py",
    "cdc cut-back": "cdc/test_refusals.py",
}
"""Commands that need Apache Kafka or run until a signal, each with the test file that validates its document."""
LISTS = {
    name
    for name in RUNS
    if name.startswith(("list ", "runs list", "runs show", "show", "errors", "config show", "gateways list"))
}


@pytest.fixture
def busy(engine, database_url, mock_kafka, answer):
    """Yield an environment with data for every command, and the ids of the inserted rows."""
    with engine.begin() as connection:
        for order in (ORDER, f"{ORDER}B", f"{ORDER}C"):
            reference = {"order_code": order, "reference": order}
            insert_payment(connection, provider="MOMO", age=timedelta(hours=1), **reference)
        insert_events(connection, 3, state="dead", last_error="REFUSED: no")
        insert_events(connection, 2)
        insert_events(connection, 1, event_type="PAYMENT_UNHEARD_OF")
        insert_events(connection, 2, state="sent_unmarked")
        insert_events(connection, 2, state="published", age=timedelta(days=30))
    with serving(Gateways(states={f"{ORDER}B": "paid"})) as gateways:
        environment = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, **gateways.environment}
        wrong = ["simulate", "momo", "wrong-amount", "--order-code", f"{ORDER}C", "--to", "process-webhook"]
        for callback in (wrong, [*CALLBACK, "--to", "process-webhook"]):
            answer(*callback, **environment)
        canary = answer("replay", "--failed", "-y", "--canary", "1", "--canary-timeout", "1ms", **environment)
        receipt = answer("list", "receipts", **environment)["items"][0]["id"]
        event = answer("list", "outbox", **environment)["items"][0]["id"]
        yield environment, {"RUN": canary["run_id"], "RECEIPT": receipt, "EVENT": event}


@pytest.mark.postgres
@pytest.mark.parametrize("command", RUNS)
def test_a_real_run_of_every_command_prints_a_valid_document(command, busy, answer, content):
    """Every command prints a valid document. A command that only reads leaves the database unchanged."""
    environment, names = busy
    before = content()
    for arguments in RUNS[command]:
        document = answer(*(names.get(word, word) for word in arguments), **environment)
        check(document)
        assert (document["schema"], document["error"]) == (registry.schema_name(command), None)
        assert document["items"] or command not in LISTS
    assert registry.find(tuple(command.split())).writes or content() == before


@pytest.mark.parametrize("command", ELSEWHERE)
def test_documents_of_other_commands_are_checked_in_their_own_files(command):
    """Each test file in ELSEWHERE names its command and validates the command's document."""
    text = (Path(__file__).parents[2] / ELSEWHERE[command]).read_text("utf-8")
    assert command.split()[-1] in text
    assert re.search(r"\b(check|validate)\(", text)


def test_every_command_has_a_test_of_its_document():
    """Every command is in exactly one of this file's tables."""
    assert not set(RUNS) & set(ELSEWHERE)
    assert set(RUNS) | set(ELSEWHERE) == {entry.name for entry in registry.COMMANDS}


@pytest.mark.postgres
def test_the_document_of_a_failed_publisher_is_valid(busy, answer):
    """If a publisher fails during its run, its document is valid and contains the counts."""
    environment, _ = busy
    document = answer("publish-outbox", "--deadline", "1s", **{**environment, "KAFKA_BROKERS": "127.0.0.1:1"})
    check(document)
    assert (document["exit_code"], document["error"]["code"]) == (4, "KAFKA_UNAVAILABLE")
    assert document["result"]["stopped_because"] == "broker_unavailable"
