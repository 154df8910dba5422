"""Test that every command has a group in the help, its examples run as printed, and every help topic has a page."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.conftest import engine_of
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.help_examples import EXAMPLES, Example
from ticketbottle_payctl.cli.app.parser import TOPICS
from ticketbottle_payctl.cli.output import exit_codes, marks
from ticketbottle_payctl.sandbox.callbacks import callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.outbox.debezium_names import HEARTBEATS, ROLE, UNROUTABLE

PUBLISHER = "payctl_publisher"
ROOT = Path(__file__).parents[3]
EVENT = "3f2a9c1e-58d0-4a1f-8f0e-2b6d1c7a9e44"
RECEIPT = "9c1f02aa-71d4-4be0-9d57-0c6a6f3e1b11"
RUN = "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6d"
ORDER = "TB-2041"
TIMEOUT = "KafkaJSConnectionError: Connection timeout"
CODES = {
    "payctl verify-signature --example momo --tamper amount": 5,
    "payctl stats --check --max-age 5m --max-failed 0": 5,
    "payctl publish-outbox": 6,
    **dict.fromkeys(("payctl show TB-2041", "payctl show 3f2a9c1e", "payctl show TB-2041 -o json | head -c 200"), 5),
    **dict.fromkeys(("payctl doctor", "payctl doctor --bundle findings.json"), 5),
}
"""The expected exit codes of the examples that do not exit with 0."""

WITH_KAFKA = ("reconcile outbox", "cdc config", "cdc cut-over", "cdc mark", "cdc cut-back")
"""The commands that need Apache Kafka, because the mock cluster cannot look up offsets by time."""

ALONE = [entry.name for entry in registry.COMMANDS if entry.name not in WITH_KAFKA]


@pytest.fixture
def gateways():
    """Yield test gateways that report the order as paid."""
    with serving(Gateways()) as served:
        served.states[ORDER], served.amounts[ORDER] = "paid", 450_000
        yield served


@pytest.fixture(scope="module")
def story(postgres, template_database, tmp_path_factory, payctl_path):
    """Yield a directory with the files for the examples, and the name of a database with the rows for the examples."""
    place, name = tmp_path_factory.mktemp("story"), "template_examples"
    url = postgres.create_database(name, template=template_database)
    engine = engine_of(url)
    with engine.begin() as connection:
        order = insert_payment(
            connection, provider="MOMO", order_code=ORDER, reference=ORDER, amount=450_000, age=timedelta(hours=1)
        )
        insert_payment(connection, provider="MOMO", order_code="TB-2042", reference="TB-2042")
        insert_events(connection, 3, state="dead", last_error=TIMEOUT, age=timedelta(hours=2))
        insert_events(connection, 2, age=timedelta(hours=3))
        insert_events(connection, 4, state="published", age=timedelta(days=40))
        insert_payments_of_events(connection)
        connection.execute(
            text("""UPDATE outbox SET id = :id WHERE id = (SELECT min(id) FROM outbox WHERE "retryCount" = 5)"""),
            {"id": EVENT},
        )
    (place / "callback.json").write_bytes(callback(order).body)
    shutil.copy(ROOT / "tests" / "events" / "momo.json", place / "event.json")
    (place / "config.toml").write_text('[profiles.staging]\ntz = "Asia/Ho_Chi_Minh"\n', "utf-8")
    stopped = "payctl replay --failed --yes --canary 1 --canary-timeout 1s"
    settled = "payctl simulate momo paid --order-code TB-2042 --to process-webhook"
    refused = "payctl simulate momo wrong-amount --order-code TB-2041 --to process-webhook"
    for line, code in ((stopped, 10), (settled, 0), (refused, 5)):
        done, output = ran(Example(line, ""), (place, {**environment(), "DATABASE_URL": url, "PATH": payctl_path}))
        assert done == code, output
    with engine.begin() as connection:
        connection.execute(text(_RENAME), {"receipt": RECEIPT, "run": RUN})
    engine.dispose()
    yield place, name
    postgres.drop_database(name)


@pytest.fixture
def world(postgres, clones, story, tmp_path, payctl_path):
    """Yield a copy of the examples' directory, and environment variables that name a copy of the examples' database."""
    place, template = story
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    name = clones.create(template, prefix="examples")
    settings = {**environment(), "DATABASE_URL": postgres.url(name), "PAYCTL_CONFIG": str(tmp_path / "config.toml")}
    yield tmp_path, {**settings, "PATH": payctl_path}
    clones.drop(name)


_RENAME = """
    SET LOCAL session_replication_role = replica;  -- the foreign keys would forbid it
    UPDATE payctl.webhook_receipts SET id = :receipt WHERE result = 'settled';
    UPDATE payctl.run_items SET run_id = :run;
    UPDATE payctl.run_chunks SET run_id = :run;
    UPDATE payctl.runs SET id = :run, options = options || '{"canary": null}'
"""


def ran(example, world, **changes):
    """Run an example in bash, as if a reader had pasted it. Return the exit code and the output."""
    place, settings = world
    process = subprocess.Popen(
        ["bash", "-c", f"exec {example.line}" if example.stays else f"set -o pipefail; {example.line}"],  # noqa: S607
        cwd=place,
        env={**os.environ, **settings, **changes},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    first = process.stdout.readline() if example.stays else ""
    if example.stays:
        process.send_signal(signal.SIGINT)
    more, _ = process.communicate(timeout=50)
    return process.returncode, first + more


def expected(example):
    """Return the possible exit codes of an example."""
    return {0, 130} if example.stays else {CODES.get(example.line, 0)}


@pytest.mark.postgres
@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", ALONE)
def test_the_examples_of_a_command_run_as_they_are_printed(command, world, mock_kafka, gateways):
    """Each example in the help exits with the expected code when it is pasted into bash."""
    settings = {"KAFKA_BROKERS": mock_kafka.bootstrap}
    if command in {"reconcile payments", "gateways register-webhook"}:
        settings |= gateways.environment
    for example in EXAMPLES[command]:
        code, output = ran(example, world, **settings)
        assert code in expected(example), f"{example.line}\n{output}"
        assert "Traceback" not in output


FIRST_LINES = [line for lines in registry.FIRST_SCREEN.values() for line in lines]


@pytest.mark.postgres
@pytest.mark.timeout(120)
@pytest.mark.parametrize("line", FIRST_LINES)
def test_the_commands_of_the_first_screen_run(line, world, mock_kafka, gateways, invoke):
    """The first screen of `payctl` lists each tested command, and the command exits with the expected code."""
    assert f"\n  {line} " in invoke(COLUMNS="80").stderr
    example = Example(line.replace("ORDER", ORDER), "", stays="--keep" in line)
    code, output = ran(example, world, KAFKA_BROKERS=mock_kafka.bootstrap, **gateways.environment)
    assert code in expected(example), output
    assert "Traceback" not in output


@pytest.fixture
def handed_over(world):
    """Yield an engine for a database with the roles, tables and publication that the connector needs."""
    engine = engine_of(world[1]["DATABASE_URL"])
    code, sql = ran(EXAMPLES["cdc config"][1], world)
    assert code == 0, sql
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {PUBLISHER}; {sql}")
    yield engine
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        for role in (PUBLISHER, ROLE):
            connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    engine.dispose()


@pytest.mark.postgres
@pytest.mark.usefixtures("logical", "handed_over")
def test_the_examples_with_apache_kafka_run_as_they_are_printed(world, kafka):
    """The examples for `reconcile outbox` and `cdc` exit with the expected code when they run with Apache Kafka."""
    kafka.recreate_topics((UNROUTABLE, HEARTBEATS))
    for command in WITH_KAFKA:
        for example in EXAMPLES[command]:
            code, output = ran(example, world, KAFKA_BROKERS=kafka.bootstrap)
            assert code in expected(example), f"{example.line}\n{output}"


def test_every_command_has_a_group_and_two_or_three_examples():
    """`payctl --help` lists every command, and each command's own help contains two or three examples."""
    assert set(registry.children(())) <= set(chain.from_iterable(registry.PANELS.values()))
    assert {entry.name: len(EXAMPLES.get(entry.name, ())) for entry in registry.COMMANDS}.items() <= {
        (entry.name, number) for entry in registry.COMMANDS for number in (2, 3)
    }
    for command, examples in EXAMPLES.items():
        assert all(f"payctl {command}" in each.line or command in {"config path", "runs cancel"} for each in examples)


@pytest.mark.parametrize("entry", registry.COMMANDS, ids=lambda entry: entry.name)
def test_the_help_of_a_command_fits_80_columns(entry, invoke):
    """In a command's help, the examples come before the options, and every line fits in 80 columns."""
    shown = invoke(*entry.words, "--help", COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    for example in EXAMPLES[entry.name]:
        assert f"  # {example.about}\n  {example.line}\n" in shown
    assert "\nExamples\n" in shown
    assert ("\nOptions\n" not in shown) or shown.index("\nExamples\n") < shown.index("\nOptions\n")
    assert "(payctl help options)" in shown.splitlines()[-1]
    assert "--no-input   " not in shown


def test_payctl_help_groups_the_commands(invoke):
    """`payctl --help` lists every command once, on one line in the command's group, and fits in 80 columns."""
    shown = invoke("--help", COLUMNS="80").stdout
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line for line in lines if line in registry.PANELS]
    assert titles == list(registry.PANELS)
    for word, about in registry.children(()).items():
        assert [line for line in lines if line.startswith(f"  {word} ")] == [f"  {word:<18}{about}"]
    assert invoke("help").stdout == f"{shown.rstrip()}\n"


def test_payctl_help_ends_with_the_commands_to_start_with(invoke):
    """`payctl --help` ends with the commands for new users. These lines fit on a terminal with 24 lines."""
    lines = invoke("--help", COLUMNS="80").stdout.splitlines()
    start = lines.index("Start here")
    assert start > lines.index("Exit codes")
    assert len(lines) - start < 24
    assert [line.split("  ")[1] for line in lines[start + 1 :][: len(registry.START)]] == list(registry.START)


@pytest.mark.parametrize("line", registry.START)
def test_the_commands_to_start_with_exist(line, invoke):
    """Every command that `payctl --help` suggests to new users has its own help."""
    assert invoke(*line.split()[1:], "--help").exit_code == 0


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_a_page_and_a_document(topic, answer, invoke):
    """Each help topic's page fits in 80 columns. With -o json, each row of the page is an item."""
    shown = invoke("help", topic, COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    document = answer("help", topic)
    assert document["result"]["topic"] == topic
    assert document["items"]
    assert all(item["name"] in shown for item in document["items"])


def test_the_page_on_exit_codes_is_the_table(answer):
    """`payctl help exit-codes` lists every exit code with its meaning, and then every mark with its exit codes."""
    items = answer("help", "exit-codes")["items"]
    assert [(item["name"], item["meaning"]) for item in items] == [*exit_codes.rows(), *marks.rows()]


def test_the_page_on_times_reads_them_in_the_zone_of_the_run(answer):
    """`payctl help times` shows what each example of a time format means now, in the --tz time zone."""
    meanings = {item["name"]: item["meaning"] for item in answer("help", "times", "--tz", "Asia/Ho_Chi_Minh")["items"]}
    assert meanings["2026-11-22"] == "2026-11-22 00:00:00 +07:00 (2026-11-21T17:00:00.000Z)"
    assert all("+07:00 (" in meaning for meaning in meanings.values())


@pytest.mark.parametrize("words", [["runs"], ["runs", "show"], ["replay"]], ids=" ".join)
def test_help_of_a_command_is_what_its_help_option_prints(words, invoke):
    """`payctl help` with a command or group prints the same text as --help."""
    assert invoke("help", *words).stdout == invoke(*words, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["outbox"], "publish-outbox or list outbox or reconcile outbox"),
        (["upgrade"], "db upgrade"),
        (["webhok"], "process-webhook or gateways register-webhook"),
        (["PAYMENTS"], "list payments or reconcile payments"),
        (["stat"], "stats"),
        (["runs", "sho"], "runs show"),
        (["list", "upgrade"], "db upgrade"),
        (["help", "exit"], "exit-codes"),
        (["help", "runs", "sho"], "runs show"),
        (["version", "--outp", "csv"], "--output"),
        (["replay", "--faild"], "--failed"),
    ],
    ids=" ".join,
)
def test_an_unknown_word_suggests_the_near_ones(arguments, near, invoke):
    """The error for a misspelt command, topic or option suggests similar words that exist."""
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"; did you mean {near}?\n" in result.stderr


def test_headings_are_bold_only_on_a_terminal(invoke):
    """The help contains no escape sequences when it is written to a pipe."""
    assert "\x1b" not in invoke("--help").stdout
