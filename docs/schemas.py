"""Write the JSON Schemas that ``payctl schema`` prints.

The schemas are generated from the types of the reports' facts. ``make docs`` runs this script. With ``--check``, the
script only names the files that would change, and exits with 1 if there are any.
"""

# ruff: noqa: E402 - on Python 3.11 pydantic reads only the TypedDict of typing_extensions, so it comes first

from __future__ import annotations

import json
import sys
import typing
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args

from typing_extensions import TypedDict, get_original_bases, is_typeddict

typing.TypedDict = TypedDict

from pydantic import ConfigDict, TypeAdapter

from ticketbottle_payctl import schemas
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.commands import (
    cdc,
    close,
    completion,
    db,
    process_webhook,
    schema,
    verify_signature,
    version,
)
from ticketbottle_payctl.cli.commands import (
    help as help_page,
)
from ticketbottle_payctl.cli.commands.config import command as config
from ticketbottle_payctl.cli.commands.config.settings import SettingItem
from ticketbottle_payctl.cli.commands.demo import result as demo
from ticketbottle_payctl.cli.commands.doctor import result as doctor
from ticketbottle_payctl.cli.commands.errors import facts as errors
from ticketbottle_payctl.cli.commands.gateways import result as gateways
from ticketbottle_payctl.cli.commands.gateways.keys import KeyItem
from ticketbottle_payctl.cli.commands.list.page import ListedCounts
from ticketbottle_payctl.cli.commands.listen import log as listen_log
from ticketbottle_payctl.cli.commands.reconcile import outbox_result, payments_facts
from ticketbottle_payctl.cli.commands.replay import facts as replay
from ticketbottle_payctl.cli.commands.report import facts as report
from ticketbottle_payctl.cli.commands.runs import facts as runs
from ticketbottle_payctl.cli.commands.show import facts as show
from ticketbottle_payctl.cli.commands.simulate import result as simulate
from ticketbottle_payctl.cli.commands.stats import facts as stats
from ticketbottle_payctl.cli.output.machine import Envelope
from ticketbottle_payctl.jobs.cdc.cut_over import CutOverCounts
from ticketbottle_payctl.jobs.cdc.mark import MarkCounts
from ticketbottle_payctl.jobs.cleanup import facts as cleanup
from ticketbottle_payctl.jobs.process_webhook.report import WebhookResult
from ticketbottle_payctl.jobs.publish_outbox import facts as publish
from ticketbottle_payctl.jobs.reconcile import payments_report
from ticketbottle_payctl.jobs.verify_signature import VerifyReport
from ticketbottle_payctl.store.outbox.list_events import ListedEvent
from ticketbottle_payctl.store.payments.list_payments import ListedPayment
from ticketbottle_payctl.store.payments.list_receipts import ListedReceipt

HERE = Path(schemas.__file__).parent
Schema = dict[str, Any]


class Contract(NamedTuple):
    """The description of a command's JSON output, and the types of its parts.

    If there are several ``result`` types, their fields are combined. ``item`` can be a union. Every document without an
    error has counts and a result. If ``when`` is given, only documents that match ``when`` have counts and a result.
    """

    title: str
    result: type | tuple[type, ...] = ()
    counts: type | None = None
    item: Any = None
    when: Schema | None = None


CONTRACTS = {
    "verify-signature": Contract(
        "Whether a gateway's callback is genuine", (VerifyReport, verify_signature.OfTheCommand)
    ),
    "process-webhook": Contract(
        "What was done with a gateway's callback", (WebhookResult, process_webhook.OfTheCommand)
    ),
    "publish-outbox": Contract(
        "What a publisher did, or would do with dry_run",
        publish.PublishFacts,
        publish.PublishedEvents,
        publish.DeadItem | publish.ClaimableItem,
        {"dry_run": {"const": False}},
    ),
    "replay": Contract(
        "What a replay did, or would do with dry_run", replay.ReplayFacts, replay.ReplayCounts, replay.LeftAloneItem
    ),
    "list outbox": Contract("Events of the outbox", (), ListedCounts, ListedEvent),
    "list payments": Contract("Payments", (), ListedCounts, ListedPayment),
    "list receipts": Contract("Stored callbacks", (), ListedCounts, ListedReceipt),
    "show": Contract("The state of an order and its history, oldest first", show.ShowFacts, None, show.StepItem),
    "close": Contract("The findings that a person closed", close.CloseFacts, close.CloseCounts, close.ClosedItem),
    "errors": Contract("Why events are not published", (), errors.ErrorCounts, errors.ErrorGroupItem),
    "runs list": Contract("Recorded runs, latest first", (), ListedCounts, runs.RunFacts),
    "runs show": Contract("One recorded run and its rows", runs.ShownRunFacts, runs.RunCounts, runs.RunItemFacts),
    "runs resume": Contract("What a resumed run did", replay.ResumeFacts, replay.ResumeCounts, replay.LeftAloneItem),
    "runs cancel": Contract("A run that was cancelled", runs.CancelFacts, runs.RemainingCounts),
    "cleanup": Contract(
        "What a cleanup deleted, or would delete with dry_run",
        cleanup.CleanupFacts,
        cleanup.CleanupCounts,
        cleanup.UnpublishedItem,
    ),
    "stats": Contract("The state of the outbox", stats.StatsFacts, None, stats.StatsItem),
    "report": Contract(
        "What happened in a window, and what is open now; the items are its figures",
        report.ReportFacts,
        None,
        report.FigureItem,
    ),
    "reconcile payments": Contract(
        "What the gateways say about payments, and what was settled",
        (),
        payments_report.PaymentsCounts,
        payments_facts.PaymentItem,
    ),
    "reconcile outbox": Contract(
        "How the outbox and Kafka differ",
        outbox_result.ComparedFacts,
        outbox_result.ComparedCounts,
        outbox_result.DifferenceItem,
    ),
    "simulate": Contract(
        "A simulated callback, and the reply to it", simulate.SimulatedCallback, None, simulate.Delivery
    ),
    "listen": Contract(
        "The requests that were answered, one item each; with -o json, only the last thousand",
        (),
        listen_log.ListenCounts,
        listen_log.Answered,
    ),
    "demo": Contract("What the demo showed, step by step", demo.DemoFacts, demo.DemoCounts, demo.DemoItem),
    "doctor": Contract("What the doctor found", doctor.DoctorFacts, doctor.DoctorCounts, doctor.FindingItem),
    "gateways list": Contract(
        "Which gateways are configured, and with which keys", (), gateways.GatewayCounts, KeyItem
    ),
    "gateways register-webhook": Contract("Whether PayOS registered the webhook's address", gateways.RegistrationFacts),
    "config show": Contract("Every setting and its source", (), None, SettingItem),
    "config path": Contract("Where the configuration file is", config.PathFacts),
    "config validate": Contract("What is wrong with the settings", (), config.CheckedCounts, config.CheckedItem),
    "db upgrade": Contract("Which migrations of payctl's schema this command ran", db.UpgradeFacts, db.UpgradeCounts),
    "db status": Contract("Which migrations of payctl's schema have run", db.StatusFacts, db.StatusCounts),
    "cdc config": Contract("Debezium's configuration", cdc.ConfigFacts),
    "cdc cut-over": Contract("How the outbox was handed over to Debezium", (), CutOverCounts),
    "cdc mark": Contract("What was marked as published while Debezium publishes", (), MarkCounts),
    "cdc cut-back": Contract("How the outbox was taken back from Debezium", (), MarkCounts),
    "schema": Contract("payctl's JSON Schemas, or one of them", schema.SchemaFacts, None, schema.SchemaItem),
    "completion": Contract("A shell's completion script", completion.CompletionFacts),
    "version": Contract("The versions of payctl and its environment", version.VersionFacts),
    "help": Contract("A page of help", help_page.HelpFacts, None, help_page.HelpItem),
    "error": Contract("A command line that was not understood"),
}
"""The contract for each command, and the contract for a command line that names no command."""


def documents() -> dict[str, Schema]:
    """Return all schemas by file name."""
    found = {"envelope-1.json": schema_of(Envelope)}
    for command, contract in CONTRACTS.items():
        name = registry.schema_name(command)
        found[name.replace("/", "-") + ".json"] = _document(name, contract)
    return found


def _document(name: str, contract: Contract) -> Schema:
    always: Schema = {"schema": {"const": name}}
    if contract.item is not None:
        always["items"] = {"type": "array", "items": schema_of(contract.item)}
    answered: Schema = {}
    if contract.counts:
        answered["counts"] = schema_of(contract.counts)
    if contract.result:
        answered["result"] = _together(contract.result if isinstance(contract.result, tuple) else (contract.result,))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.title,
        "allOf": [{"$ref": "#/$defs/envelope"}],
        "properties": always,
        "if": {"properties": {"error": {"type": "null"}, **(contract.when or {})}},
        "then": {"properties": answered},
    }


def _together(kinds: tuple[type, ...]) -> Schema:
    """Return one schema with the fields of several types.

    If two types have the same field, the later type defines the field.
    """
    first, *others = map(schema_of, kinds)
    for other in others:
        first["properties"] |= other["properties"]
        first["required"] = [name for name in first["required"] if name not in other["properties"]]
        first["required"] += other.get("required", [])
    return first


def schema_of(kind: Any) -> Schema:  # noqa: ANN401 - a class or a union of classes
    """Return a type's schema without references.

    The schema contains the docstrings of the type's own and inherited fields.
    """
    if isinstance(kind, UnionType):
        return {"oneOf": [schema_of(form) for form in get_args(kind)]}
    # A field of a dataclass is always written. A field of a TypedDict is always written only if it is required.
    mode: Any = "serialization" if is_dataclass(kind) else "validation"
    generated = TypeAdapter(list[kind], config=_CONFIG).json_schema(mode=mode)
    found: Schema = _plain(generated["items"], generated["$defs"])
    for base in get_original_bases(getattr(kind, "__origin__", kind)):
        if is_typeddict(base):
            for name, inherited in schema_of(base)["properties"].items():
                found["properties"][name] = {**inherited, **found["properties"][name]}
    return found


_CONFIG = ConfigDict(use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)


def _plain(node: Any, kinds: Schema) -> Any:  # noqa: ANN401 - any part of a schema
    """Replace each reference with the schema that it points to, and remove redundant keywords."""
    if isinstance(node, list):
        return [_plain(each, kinds) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = {**kinds[node["$ref"].rpartition("/")[2]], **node}
    if "anyOf" in node:
        node = {**_one_of([_plain(each, kinds) for each in node["anyOf"]]), **node}
    return {
        name: {field: _plain(each, kinds) for field, each in value.items()}
        if name == "properties"
        else _plain(value, kinds)
        for name, value in node.items()
        if name not in {"$ref", "anyOf", "title", "default"} and not (name == "additionalProperties" and value is True)
    }


def _one_of(forms: list[Schema]) -> Schema:
    """Combine several simple schemas into one. If a value can be null, ``null`` becomes a second type.

    Constants become one list.
    """
    words = [word for form in forms for word in form.get("enum", [form["const"]] if "const" in form else [])]
    nullable = {"type": "null"} in forms
    merged: Schema = {}
    for form in forms:
        merged |= {name: value for name, value in form.items() if name not in {"type", "const", "enum"}}
    kind = next(form["type"] for form in forms if form["type"] != "null")
    merged["type"] = [kind, "null"] if nullable else kind
    if words:
        merged["enum"] = [*words, None] if nullable else words
    return merged


def main() -> int:
    """Write the files. With ``--check``, only name the files that would change."""
    check = "--check" in sys.argv
    wanted = {name: json.dumps(found) + "\n" for name, found in documents().items()}
    kept = {path.name: path.read_text("utf-8") for path in HERE.glob("*.json")}
    changed = sorted(name for name in wanted.keys() | kept.keys() if wanted.get(name) != kept.get(name))
    for name in changed:
        if check:
            print(name)  # noqa: T201 - the name is the script's output
        elif name in wanted:
            (HERE / name).write_text(wanted[name], "utf-8")
        else:
            (HERE / name).unlink()
    return int(check and bool(changed))


if __name__ == "__main__":
    raise SystemExit(main())
