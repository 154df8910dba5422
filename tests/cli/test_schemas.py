"""Every document that a command prints keeps to its JSON Schema, and says nothing that the schema does not."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from ticketbottle_payctl.cli import schema
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.sandbox.payment_service import insert_payment

SAMPLE = samples()["zalopay"]


def check(document):
    """Validate a document, and look for names that are documented nowhere."""
    found = schema.load(document["schema"])
    Draft202012Validator(found, format_checker=FormatChecker()).validate(document)
    assert set(document) == set(found["$defs"]["envelope"]["properties"])
    described = {**found["properties"], **found.get("then", {}).get("properties", {})}
    if document["error"] is None:
        assert set(document["result"]) <= set(described.get("result", {}).get("properties", {}))
        for item in document["items"]:
            assert set(item) <= set(described["items"]["items"]["properties"])


@pytest.mark.parametrize("name", schema.names())
def test_the_schemas_are_schemas(name):
    """Each is a valid JSON Schema, complete in itself, and printed by the command."""
    Draft202012Validator.check_schema(schema.load(name))


@pytest.mark.parametrize(
    "arguments",
    [
        ["version"],
        ["completion", "zsh"],
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
def test_a_document_keeps_to_its_schema(arguments, answer):
    """Answers and failures alike."""
    check(answer(*arguments))


@pytest.mark.postgres
def test_database_commands_keep_to_their_schemas(answer, database_url, engine, tmp_path):
    """Settled, repeated, refused and rolled back."""
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


def test_the_command_prints_the_schema_itself(invoke):
    """Ready for a validator, without the envelope."""
    printed = json.loads(invoke("schema", "verify-signature").stdout)
    assert printed == schema.load("payctl.verify-signature/1")


def test_an_unknown_schema_does_not_exist(answer):
    """Exit 8, with the names there are."""
    document = answer("schema", "../../secret")
    assert document["exit_code"] == 8
    assert "payctl.version/1" in document["error"]["hint"]
