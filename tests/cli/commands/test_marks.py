"""Test that the mark in the first line matches the exit code, as `payctl help exit-codes` says."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path

import pytest

import ticketbottle_payctl
from tests.cli.marks import check_mark
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.output.exit_codes import MEANINGS
from ticketbottle_payctl.cli.output.marks import MARKS
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)


@pytest.fixture
def shop(engine):
    """Insert a fresh order, an overdue order, a harmless dead event and, if asked, a harmful dead event."""

    def write(*, harmful):
        with engine.begin() as connection:
            insert_payment(connection, order_code="TB-NEW")
            insert_payment(connection, order_code="TB-OLD", age=HOUR)
            insert_events(connection, 1, event_type="PAYMENT_FAILED", state="dead", age=HOUR, last_error="A: no")
            insert_payments_of_events(connection)
            connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED' WHERE status = 'FAILED'")
            if harmful:
                insert_events(connection, 1, state="dead", last_error="B: no")
                insert_payments_of_events(connection)

    return write


@pytest.mark.parametrize(
    ("line", "harmful", "mark", "code"),
    [
        ("show TB-NEW", False, "!", 5),
        ("show TB-OLD", False, "✘", 5),
        ("stats", False, "!", 0),
        ("stats", True, "!", 0),
        ("stats --check --max-failed 0", False, "✔", 0),
        ("stats --check --max-failed 0", True, "✘", 5),
        ("stats --wait dead=0 --timeout 1s", True, "✘", 10),
        ("doctor --only backlog", False, "!", 0),
        ("doctor --only backlog", True, "✘", 5),
        ("errors", True, "!", 0),
        ("report", True, "# !", 0),
        ("publish-outbox", False, "✔", 0),
        ("publish-outbox", True, "!", 6),
        ("replay --failed -n --allow-superseded --type NO_SUCH_TYPE", False, "✔", 0),
        ("replay --failed --type PAYMENT_FAILED -y", False, "✘", 7),
        ("replay no-such-event -y", False, "✘", 8),
        ("replay --failed --allow-superseded --canary 1 --canary-timeout 1ms -y", False, "!", 10),
        ("gateways list", False, "!", 0),
        ("db status", False, "✔", 0),
    ],
)
def test_the_mark_and_the_exit_code_fit_the_page_about_exit_codes(
    shop, invoke, database_url, mock_kafka, line, harmful, mark, code
):
    """Each mark has the exit code that `payctl help exit-codes` lists. The fixture `invoke` compares mark and code."""
    shop(harmful=harmful)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, "ZALOPAY_APP_ID": "2554"}
    shown = invoke(*line.split(), **places)
    assert (shown.stdout.splitlines()[0].startswith(f"{mark} "), shown.exit_code) == (True, code), shown.output


SOURCES = Path(ticketbottle_payctl.__file__).parent / "cli" / "commands"
ELSEWHERE = {("demo", "✘"): "a step of the story", ("stats", "✘"): "stats --check and --wait"}
"""The marks that are not in a first line, or that belong to a command with an option."""


def marks_in(source):
    """Return the marks ! and ✘ in the code's strings, except docstrings.

    A mark is a whole string, or the first word of a string or an f-string. The function does not find
    a mark that the code builds from other values. No command builds one, and the check after each run would notice it.
    """
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    firsts = {node.value.partition(" ")[0] for node in texts if id(node) not in docstrings}
    return firsts & {"!", "✘"}


@pytest.mark.parametrize(
    ("source", "marks"),
    [
        ('line(warn("!"), "x")', {"!"}),
        ('mark = "✔" if quiet else "!"', {"!"}),
        ('line(bad(f"✘ {wrong} checks failed"))', {"✘"}),
        ('line(bad("✘ refused:"))', {"✘"}),
        ('MARKS = {OK: good("✔"), WARN: Styled("!", WARN), FAIL: bad("✘")}', {"!", "✘"}),
        ('"""✘ marks a failure."""', set()),
        ('line(good("✔"), "paid! it is ✘")', set()),
    ],
)
def test_the_scan_finds_a_mark_in_each_kind_of_expression(source, marks):
    """The scan finds marks in calls, conditions, f-strings and dictionaries, but not in docstrings or sentences."""
    assert marks_in(source) == marks


@pytest.mark.parametrize("mark", ["!", "✘"])
def test_every_mark_in_the_code_has_a_row_on_the_page(mark):
    """Each command whose code contains a mark has a row with this mark on the page about exit codes."""
    files = [path for path in SOURCES.rglob("*.py") if mark in marks_in(path.read_text("utf-8"))]
    printing = {path.relative_to(SOURCES).parts[0].removesuffix(".py").replace("_", "-") for path in files}
    listed = {command.split()[0] for row in MARKS if row.mark == mark for command in row.commands}
    assert printing - {command for command, other in ELSEWHERE if other == mark} <= listed
    assert len(printing) > 3


def test_every_command_on_the_page_exists():
    """Each row of the page about exit codes names existing commands and exit codes that payctl explains."""
    names = {entry.name for entry in registry.COMMANDS}
    for row in MARKS:
        commands = {" ".join(word for word in command.split() if not word.startswith("-")) for command in row.commands}
        assert (commands - names, set(row.codes) - MEANINGS.keys()) == (set(), set())


def test_the_page_has_a_row_for_each_mark(answer):
    """`payctl help exit-codes` lists the exit codes for each command's marks."""
    found = {item["name"]: item["meaning"] for item in answer("help", "exit-codes")["items"]}
    assert found["publish-outbox !"].startswith("6, 9, 10, 130 or 143: ")
    assert found["replay ✘"].startswith("7 or 8: ")
    assert found["show !"].startswith("5: ")
    assert found["stats, report !"].startswith("0: ")


@pytest.mark.parametrize(
    ("arguments", "stdout", "code"),
    [
        (["publish-outbox"], "!  held back", 0),
        (["replay"], "✘  nothing", 6),
        (["show", "x"], "✔  done", 5),
        (["stats"], "✘  failed", 5),
    ],
)
def test_a_mark_with_another_exit_code_is_found(arguments, stdout, code):
    """The check after each run fails if the page does not list the mark with this exit code."""
    with pytest.raises(AssertionError, match="mark"):
        check_mark(arguments, stdout, code)
