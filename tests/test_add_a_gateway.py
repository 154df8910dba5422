"""Test that every gateway is in each table of the code and on each page that compares the gateways.

Run this file first when you add a gateway. These tests need no service, and each failure names the file to change.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lambda_entrypoints.forgeries import FORGERIES
from ticketbottle_payctl import formats
from ticketbottle_payctl.cli.app.argv import require_utf8
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries import QUERIES

ROOT = Path(__file__).parent.parent
TABLES = (
    "ticketbottle_payctl/formats.py PROVIDERS",
    "ticketbottle_payctl/providers/explain/__init__.py _READERS",
    "ticketbottle_payctl/providers/queries/__init__.py QUERIES",
    "ticketbottle_payctl/providers/samples.py _SIGNED",
    "ticketbottle_payctl/sandbox/altering.py _FORMS",
    "ticketbottle_payctl/sandbox/callbacks.py _SENT",
    "ticketbottle_payctl/sandbox/callbacks.py _MAKERS",
    "ticketbottle_payctl/jobs/doctor/signing.py _SIGNERS",
    "ticketbottle_payctl/cli/commands/simulate/command.py _MADE_UP",
    "lambda_entrypoints/forgeries.py FORGERIES",
    "tests/providers/conftest.py KEYS",
    "tests/providers/conftest.py SIGNING",
    "tests/providers/conftest.py SIGNATURES",
    "tests/providers/conftest.py SIGNED_TEXTS",
    "tests/providers/conftest.py AMBIGUOUS",
    "tests/providers/test_recognises.py FREE_TEXTS",
    "tests/providers/test_explain.py OTHER_MERCHANT",
    "tests/providers/test_explain.py UNREADABLE",
    "tests/providers/test_explain.py WITH_PRIVATE_FIELDS",
    "tests/providers/test_explain_changes.py VIETNAMESE",
    "tests/providers/test_properties.py SIGNED",
    "tests/providers/test_queries.py ANSWERS",
    "tests/providers/test_queries.py UNPAID",
    "tests/providers/test_queries.py NUMBERS",
    "tests/providers/test_queries.py OTHER_PAYMENT",
    "tests/providers/test_queries.py WRONG_SIGNATURE",
    "tests/providers/test_reply_code.py NOT_ACKNOWLEDGED",
    "tests/providers/test_samples.py FIELDS",
    "tests/providers/test_verify_signature.py TRIED",
    "tests/sandbox/test_callbacks.py DOCUMENTED",
    "tests/stand_ins.py STATES",
    "tests/stand_ins.py REQUESTS",
    "tests/jobs/doctor/test_kafka_and_keys.py VALUES",
    "tests/jobs/doctor/test_kafka_and_keys.py ORDERS",
    "tests/jobs/doctor/test_kafka_and_keys.py WRONG_KEYS",
    "tests/jobs/process_webhook/test_hostile_callbacks.py REFERENCES",
    "tests/jobs/process_webhook/test_hostile_callbacks.py NUMBER_FIELDS",
    "tests/jobs/process_webhook/test_replies.py WORDS",
    "tests/jobs/process_webhook/test_replies.py NUMBERS",
    "tests/cli/commands/reconcile/test_payments_untrusted.py FORGED",
    "tests/cli/commands/test_simulate.py AMOUNTS",
    "tests/cli/commands/test_unclear_receipts.py UNREADABLE",
    "tests/deploy/test_domain.py OUTPUTS",
    "tests/deploy/test_parameters.py URLS",
    "tests/fuzz/merchant.py SIGNING",
    "tests/fuzz/merchant.py SIGNATURES",
    "tests/fuzz/merchant.py SIGNED_FIELDS",
    "tests/fuzz/callbacks.py SIGNERS",
    "tests/soak/customers.py REFERENCES",
    "tests/soak/customers.py REPLIES",
)
TABLES_OF_VARIABLES = (
    "tests/stand_ins.py KEYS",
    "tests/fuzz/oracle.py KEYS",
    "tests/providers/test_registry.py VARIABLES",
)
MAY_BE_NONE = (
    "tests/providers/conftest.py AMBIGUOUS",
    "tests/providers/test_recognises.py FREE_TEXTS",
    "tests/providers/test_explain.py OTHER_MERCHANT",
    "tests/providers/test_explain.py WITH_PRIVATE_FIELDS",
    "tests/providers/test_explain_changes.py VIETNAMESE",
    "tests/providers/test_queries.py OTHER_PAYMENT",
    "tests/providers/test_queries.py WRONG_SIGNATURE",
    "tests/stand_ins.py REQUESTS",
)
"""The tables in which an entry can be None, because the tests then leave the gateway out or expect nothing."""

JSON_TABLE = "tests/providers/test_properties.py SIGNED_JSON"
READINGS = "tests/providers/test_one_reading.py READINGS"
ONLY_SOME = {
    "tests/acceptance/test_demo.py": "the callbacks of the demo",
    "tests/jobs/process_webhook/test_hostile_callbacks.py HOSTILE": "nonsense that a gateway's format allows",
    "tests/jobs/process_webhook/test_replies.py IGNORED": "the gateways that report a state without a result",
    "tests/sandbox/test_gateway_libraries.py JUDGED": "the gateways that publish JavaScript",
}
"""The tables that do not need every gateway, with the gateways that they contain."""

METHODS = ("tests/providers/conftest.py Merchant", "tests/stand_ins.py Gateways")
FILES = (
    "ticketbottle_payctl/providers/samples.json",
    "tests/data/gateway-vectors/{name}.json",
    "tests/events/{name}.json",
    "tests/providers/test_{name}.py",
)
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "docs/index.md",
    "docs/explanation/gateways.md",
    "docs/how-to/README.md",
    "docs/how-to/try-it-locally.md",
    "docs/reference/glossary.md",
    "docs/deploy.md",
    "docs/runbook.md",
)
ROWS = (
    ("docs/explanation/gateways.md", "# What each gateway promises", " | {label} |"),
    ("docs/how-to/README.md", "## How to read the output", "`{label}`"),
    ("docs/how-to/try-it-locally.md", "# Try callbacks on your own machine", " | {name} |"),
    ("docs/deploy.md", "## 7. Register the addresses with the gateways", "| {label} | `"),
    ("docs/deploy.md", "### Network access to the gateways", "| {label} | "),
    ("docs/deploy.md", "### After the first deployment", "`{output}`"),
    ("docs/deploy.md", "### Network access to the gateways", "`{url}`"),
    ("docs/runbook.md", "### WebhookTryAgain", "| {label} | {try_again} | {not_configured} |"),
    ("docs/how-to/reconcile.md", "### Limits and settings", "`{address}`"),
    ("docs/how-to/without-internet.md", "## The queries to the gateways", "`{address}`"),
)
"""Where each gateway must appear in the docs: the page, the heading, and the text, such as the start of a row."""

OTHERS = ("ticketbottle_payctl/cli/app/argv.py", "docs/how-to/gateways.md", "pyproject.toml")
MANY = max(4, len(GATEWAYS) - 1)
"""A table with this many gateways is meant to have them all."""

FIRST_THE_QUERY = "first write the status query: ticketbottle_payctl/providers/queries"
_BETWEEN = r"[^A-Za-z]+(?:and|or)?[^A-Za-z]*"
LIST = _BETWEEN.join(f"(?i:{name})" for name in GATEWAYS)
"""A regular expression that matches a list of all gateways.

Any characters other than letters can be between the names.
"""
WITH_ANOTHER = _BETWEEN.join((LIST, "(?i:another)"))

PLACES_IN_THE_TEMPLATE = (
    *("Path: /webhook/{name},", " /webhook/{name}: *throttle", ' /webhook/{name}", Target:'),
    "- https://${{Host}}${{Prefix}}/webhook/{name}\n",
)


def need(found: object, what: str) -> None:
    """Fail without a traceback if something is missing. ``what`` says in one line what to do."""
    if not found:
        pytest.fail(what, pytrace=False)


def value(place: str) -> object:
    """Return the value of a variable. ``place`` is a file and the name of the variable in that file."""
    file, name = place.split(" ")
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, KeyError, NotFoundError) as error:
        problem = f"{file} does not load yet ({error!r}): first fix the other failures"
    return pytest.fail(problem, pytrace=False)


def table(place: str) -> set[str]:
    """Return the keys of a table. ``place`` is a file and the name of a variable in that file.

    If a row is a tuple, its key is the tuple's first value. If a key has several words, the first one is the gateway.
    """
    keys = {row[0] if isinstance(row, tuple) else row for row in value(place)}
    return {key.partition(" ")[0] for key in keys}


@pytest.mark.parametrize("place", TABLES)
def test_every_table_has_every_gateway(place):
    """Every gateway is in each table of the code and of the tests.

    A missing gateway would cause a KeyError, or the tests would silently leave out the gateway.
    """
    missing = [gateway for gateway in GATEWAYS if gateway not in table(place)]
    need(not missing, f"add {', '.join(missing)} to {place.replace(' ', ': ')}")


@pytest.mark.parametrize("place", TABLES)
def test_an_entry_is_none_only_if_the_table_s_docstring_explains_it(place):
    """Only a table in MAY_BE_NONE can have an entry that is None, and its docstring says what None means."""
    found = value(place)
    nothing = [key for key in table(place) if isinstance(found, dict) and found.get(key, ...) is None]
    need(place in MAY_BE_NONE or not nothing, f"replace the None of {', '.join(nothing)} in {place.replace(' ', ': ')}")
    explained = "None means" in docstring_of(place)
    need(explained or place not in MAY_BE_NONE, f"say in the docstring of {place.replace(' ', ': ')} what None means")


def docstring_of(place: str) -> str:
    """Return the string below a variable. ``place`` is a file and the name of the variable in that file."""
    file, name = place.split(" ")
    text = (ROOT / file).read_text("utf-8")
    for statement, after in pairwise(ast.parse(text).body):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name) and target.id == name and isinstance(after, ast.Expr):
            return ast.literal_eval(after.value)
    return ""


def test_every_table_of_gateways_in_the_tests_is_named_here():
    """A table in the tests that has an entry for almost every gateway is in TABLES, or in ONLY_SOME with the reason."""
    named = {*TABLES, *TABLES_OF_VARIABLES, *ONLY_SOME, JSON_TABLE, READINGS}
    files = sorted(file for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__))
    found = {file.relative_to(ROOT).as_posix(): tables_in(file.read_text("utf-8")) for file in files}
    unnamed = [
        f"{file}:{line} {name}".strip()
        for file, tables in found.items()
        for line, name in tables
        if not {file, f"{file} {name}"} & named
    ]
    need(not unnamed, f"give it a name, and add it to TABLES in tests/test_add_a_gateway.py: {', '.join(unnamed)}")


def tables_in(text: str) -> list[tuple[int, str]]:
    """Return the line and the name of each literal whose keys are almost all gateways. Only a global has a name."""
    if sum(gateway in text.casefold() for gateway in GATEWAYS) < MANY:
        return []
    found = []
    for statement in ast.parse(text).body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        name = target.id if isinstance(target, ast.Name) else ""
        found += [(node.lineno, name) for node in ast.walk(statement) if len(gateways_in(node)) >= MANY]
    return found


def gateways_in(node: ast.AST) -> set[str]:
    """Return the gateways that are keys of a literal, or the first values of its rows."""
    rows = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
    firsts = [row.elts[0] if isinstance(row, ast.Tuple) and row.elts else row for row in rows]
    texts = [first.value for first in firsts if isinstance(first, ast.Constant) and isinstance(first.value, str)]
    return {re.split(r"[^a-z]", text.casefold())[0] for text in texts} & GATEWAYS.keys()


@pytest.mark.parametrize("place", TABLES_OF_VARIABLES)
def test_every_table_of_keys_has_every_variable(place):
    """Each test merchant has a value for every variable of each gateway."""
    variables = [field.env for gateway in GATEWAYS.values() for field in gateway.fields]
    missing = [variable for variable in variables if variable not in table(place)]
    need(not missing, f"add {', '.join(missing)} to {place.replace(' ', ': ')}")


@pytest.mark.parametrize("place", METHODS)
def test_every_test_class_has_a_method_for_every_gateway(place):
    """A test merchant signs a callback of each gateway, and a stand-in answers a status query of each gateway."""
    missing = [gateway for gateway in GATEWAYS if not hasattr(value(place), gateway)]
    need(not missing, f"add the method {', '.join(missing)} to {place.replace(' ', ': ')}")


def test_every_gateway_that_sends_json_is_tested_with_any_json():
    """The verifier of each gateway that sends JSON is tested with any value in a signed field."""
    missing = set(value("tests/providers/conftest.py JSON_GATEWAYS")) - table(JSON_TABLE)
    need(not missing, f"add {', '.join(missing)} to {JSON_TABLE.replace(' ', ': ')}")


def test_every_signed_string_is_searched_for_a_second_meaning():
    """A gateway whose signed strings have only one meaning has a function that searches for a second one."""
    ambiguous = value("tests/providers/conftest.py AMBIGUOUS")
    missing = {gateway for gateway in GATEWAYS if ambiguous.get(gateway) is None} - table(READINGS)
    need(not missing, f"add {', '.join(sorted(missing))} to {READINGS.replace(' ', ': ')}")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_variable_with_the_gateway_s_address_has_the_usual_name(gateway):
    """The variable that replaces a gateway's host has the name that the tests and the pages expect."""
    need(gateway in QUERIES, FIRST_THE_QUERY)
    variable = QUERIES[gateway].url_variable
    wanted = f"PAYCTL_{gateway.upper()}_URL"
    need(variable == wanted, f"in ticketbottle_payctl/providers/queries/{gateway}.py, set url_variable to {wanted}")


def test_every_gateway_is_a_keyword_of_the_package():
    """The package's keywords include the name of each gateway."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    missing = GATEWAYS.keys() - set(project["keywords"])
    need(not missing, f"add {', '.join(missing)} to the keywords in pyproject.toml")


def test_the_example_of_gateways_list_counts_every_gateway():
    """The example output of `gateways list` counts all gateways, as payctl does."""
    text = (ROOT / "docs/how-to/gateways.md").read_text("utf-8")
    wanted = f"of {len(GATEWAYS)} gateways"
    need(wanted in text, f"change the example in docs/how-to/gateways.md: {wanted}")


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("name", FILES)
def test_every_gateway_has_its_files(name, gateway):
    """Each gateway has a sample, test vectors, an event for `make local`, and its own test file."""
    file = ROOT / name.format(name=gateway)
    made = "with `.venv/bin/python -m tests.lambda_entrypoints.events`" if "events" in name else "as for other gateways"
    need(file.is_file(), f"write {name.format(name=gateway)} {made}")
    if file.suffix != ".json":
        return
    content = json.loads(file.read_text("utf-8"))
    known = {record["name"] for record in content} if name.endswith("samples.json") else {gateway}
    need(gateway in known, f"add an entry with the name {gateway} to {name}")


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_that_compares_the_gateways_has_the_gateway(name, gateway):
    """A page that compares the gateways contains each gateway's display name."""
    label = formats.PROVIDERS.get(gateway, gateway)
    need(label in (ROOT / name).read_text("utf-8"), f"describe {label} in {name}")


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize(("name", "heading", "text"), ROWS)
def test_every_table_of_the_pages_has_the_gateway(name, heading, text, gateway):
    """Each table or list of gateways in the pages contains each gateway."""
    wanted = text.format(
        name=gateway,
        label=formats.PROVIDERS.get(gateway, gateway),
        output=value("tests/deploy/test_domain.py OUTPUTS").get(gateway, f"the output of {gateway}"),
        url=value("tests/deploy/test_parameters.py URLS").get(gateway, f"the ...Url parameter of {gateway}"),
        address=f"PAYCTL_{gateway.upper()}_URL",
        try_again=reply_in_a_page(gateway, Answer.TRY_AGAIN),
        not_configured=reply_in_a_page(gateway, Answer.NOT_CONFIGURED),
    )
    need(wanted in section(name, heading), f"add {wanted.strip()} to {name}, {heading.lstrip('# ')}")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_deploy_md_lists_the_gateway_s_keys(gateway):
    """deploy.md lists the keys that the webhook's secret needs, and the keys that the scheduled repair needs."""
    need(gateway in QUERIES, FIRST_THE_QUERY)
    fields, asks = GATEWAYS[gateway].fields, QUERIES[gateway].needs
    for heading, keys in (
        ("## 3. The secrets", [field.env for field in fields if field.signs_callbacks]),
        ("## The scheduled repair", [field.env for field in fields if field.name in asks]),
    ):
        missing = [key for key in keys if f'"{key}": "..."' not in section("docs/deploy.md", heading)]
        need(not missing, f"add {', '.join(missing)} to the JSON in docs/deploy.md, {heading.lstrip('# ')}")


def section(name: str, heading: str) -> str:
    """Return the part of a page between this heading and the next one."""
    _, found, after = (ROOT / name).read_text("utf-8").partition(f"{heading}\n")
    need(found, f"{name} has no heading {heading!r}")
    return re.split(r"\n##+ ", after)[0]


def reply_in_a_page(gateway: str, answer: Answer) -> str:
    """Return a reply as the runbook shows it."""
    reply = GATEWAYS[gateway].reply(answer)
    return f"{reply.status} `{reply.body}`"


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("place", PLACES_IN_THE_TEMPLATE)
def test_the_template_has_the_gateway_s_routes(place, gateway):
    """The public API and the hidden API have a route for each gateway. Each public route has its own request limit."""
    wanted = place.format(name=gateway)
    text = (ROOT / "deploy/template.yaml").read_text("utf-8")
    need(wanted in text, f"add a line to deploy/template.yaml: {wanted.strip()}")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_template_names_the_gateway_s_keys(gateway):
    """Each function that reads a key gets the ARN of the key's secret, and `sam local` can set the key directly."""
    text = (ROOT / "deploy/template.yaml").read_text("utf-8")
    need(gateway in QUERIES, FIRST_THE_QUERY)
    asks = QUERIES[gateway].needs
    for field in GATEWAYS[gateway].fields:
        readers = field.signs_callbacks + (field.name in asks)
        for line in (f" {field.env}_SECRET_ARN: !Ref ", f" {field.env}: *for-sam-local"):
            need(text.count(line) == readers, f"deploy/template.yaml needs {readers} times: {line.strip()}")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_key_of_the_gateway_that_is_not_utf_8_is_refused(gateway):
    """The command line refuses a gateway variable that is not UTF-8, and so never passes such a key to a library."""
    accepted = [field.env for field in GATEWAYS[gateway].fields if not is_refused(field.env)]
    need(not accepted, f"add the prefix of {', '.join(accepted)} to ticketbottle_payctl/cli/app/argv.py: _OURS")


def is_refused(variable: str) -> bool:
    """Return whether payctl refuses a value of this variable if it is not UTF-8."""
    try:
        require_utf8((), {variable: "\udcff"})
    except InputError:
        return True
    return False


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_command_line_knows_where_the_webhook_s_address_is_entered(gateway):
    """`gateways register-webhook` works for PayOS.

    For any other gateway, the command says where to enter the address.
    """
    run = CliRunner().invoke(app, ["gateways", "register-webhook", gateway, "https://pay.example.com"])
    bug = run.exit_code == 1
    need(not bug, f"add {gateway} to ticketbottle_payctl/cli/commands/gateways/command.py: _ELSEWHERE")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_forgery_goes_to_the_gateway_s_own_path(gateway):
    """For each gateway, the probe sends the forged callback to the path that this gateway calls."""
    need(gateway in FORGERIES, f"add {gateway} to lambda_entrypoints/forgeries.py: FORGERIES")
    assert FORGERIES[gateway].path == f"/webhook/{gateway}"


def test_the_contributors_guide_names_every_place():
    """CONTRIBUTING.md names each file that a new gateway requires you to change."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    _, _, guide = text.partition("\n## Add a gateway\n")
    guide, _, _ = guide.partition("\n## ")
    places = (*TABLES, *TABLES_OF_VARIABLES, *METHODS, JSON_TABLE, READINGS)
    files = {place.split(" ")[0] for place in places} | {*FILES, *PAGES, *OTHERS, *(row[0] for row in ROWS)}
    short = {file.removeprefix("ticketbottle_payctl/").replace("{name}", "NAME") for file in files}
    missing = sorted(file for file in short if f"`{file}`" not in guide)
    need(not missing, f"name in CONTRIBUTING.md, Add a gateway: {', '.join(missing)}")


ANOTHER = """
from dataclasses import replace
from ticketbottle_payctl import formats, providers
formats.PROVIDERS["another"] = "Another"
providers.GATEWAYS["another"] = replace(providers.GATEWAYS["momo"], name="another", spellings=("another",))
import json
from typer.testing import CliRunner
from docs.schemas import documents
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.main import app
pages = {name: json.dumps(page) for name, page in documents().items()}
for entry in registry.COMMANDS:
    pages[f"payctl {entry.name} --help"] = CliRunner().invoke(app, [*entry.words, "--help"], prog_name="payctl").stdout
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def with_another():
    """Return each help page and each JSON Schema from a process in which payctl has one more gateway."""
    made = subprocess.run([sys.executable, "-c", ANOTHER], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(made.stdout)


def test_every_help_and_schema_that_names_the_gateways_names_another_by_itself(with_another):
    """A help page or JSON Schema that lists the gateways picks up a new gateway from a table."""
    missing = GATEWAYS.keys() - formats.PROVIDERS.keys()
    need(not missing, f"first add {', '.join(missing)} to ticketbottle_payctl/formats.py: PROVIDERS")
    same = list(GATEWAYS) == list(formats.PROVIDERS)
    need(same, "put PROVIDERS in ticketbottle_payctl/formats.py into the order of providers/__init__.py")
    naming = {page: len(re.findall(LIST, text)) for page, text in with_another.items() if re.search(LIST, text)}
    assert {page for page in naming if page.endswith("--help")} >= {"payctl simulate --help", "payctl errors --help"}
    assert {page for page in naming if page.endswith(".json")} >= {"payctl.simulate-1.json", "payctl.listen-1.json"}
    assert {
        page for page, number in naming.items() if len(re.findall(WITH_ANOTHER, with_another[page])) != number
    } == set()
