"""Test `payctl report` on a terminal with 80 columns."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cli.commands.report.conftest import ACCOUNT, HOSTILE, window
from ticketbottle_payctl.formats import rfc3339

COLOURS = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def shown(database_url, terminal):
    """Return a function that runs the report on a terminal, and returns its exit code, bytes and text."""

    def run(*options):
        with terminal("report", *options, lines=400, DATABASE_URL=database_url, TZ="UTC") as it:
            return it.finish(), it.sent, it.text()

    return run


def test_the_report_fits_the_terminal_and_no_word_is_cut(shown, told, ask):
    """On a terminal, no line of the report is longer than 80 columns, and no word is cut off."""
    code, sent, text = shown(*window(told))
    document = ask("report", *window(told))
    last = text.index("as Markdown, with the command")
    written = COLOURS.sub(b"", sent).decode().split("as Markdown, with the command")[0]
    long = [line for line in (each.split("\r")[-1] for each in written.split("\r\n")) if len(line) > 80]
    assert (code, long) == (0, [])
    words = {word for line in text[:last].splitlines() for word in line.split()}
    labels = [item["label"] for item in document["items"] if "error" not in item["label"]]
    labels = [label for label in labels if not label.startswith("refused: ")]
    for said in (document["result"]["verdict"], *labels):
        assert set(said.split()) - words == set(), said


def test_the_report_on_a_terminal_is_not_markdown(shown, told):
    """On a terminal, the report starts with the verdict, contains every section, and does not use Markdown syntax."""
    _, _, text = shown(*window(told))
    headings = ("Open now", "What happened when", "figure ", "Who did what")
    assert [text.index(f"\n{each}") for each in headings] == sorted(text.index(f"\n{each}") for each in headings)
    assert next(line for line in text.splitlines() if line.startswith("!")).startswith(
        "!  11 customers paid, or may have"
    )
    assert not re.search(r"^#|\*\*\d|^\||`payctl", text, re.MULTILINE)


def test_the_screen_lists_runs_and_resumed_runs_in_order_of_time(shown, story, told):
    """On a terminal, "Who did what" shows the start of each run and each resumed run in order of time."""
    story.connection.exec_driver_sql("""
        UPDATE payctl.runs SET acts = jsonb_build_array(jsonb_build_object('deed', 'resumed',
            'at', started_at + interval '1 second', 'os_user', 'ops', 'host', 'bastion', 'actor', 'Minh',
            'db_role', 'payctl', 'reason', NULL))""")
    story.connection.commit()
    _, _, text = shown(*window(told))
    times = re.findall(r"^  (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", text[text.index("\nWho did what") :], re.MULTILINE)
    assert ("Minh resumed run" in text, len(times) > 2, times) == (True, True, sorted(times))


def test_the_screen_names_overdue_payments_and_the_command_that_asks_the_gateways(shown, story, told):
    """The report counts overdue payments, and suggests a command that asks the gateways about them."""
    story.payment(52, "PENDING")
    story.connection.commit()
    code, _, text = shown(*window(told))
    assert code == 0
    assert re.search(r"\nAsk the gateways\n  \d+ payments? created in the window (is|are) PENDING for over 20", text)
    assert "\n    payctl reconcile payments -n\n" in text


@pytest.mark.usefixtures("told")
def test_the_screen_ends_with_the_commands_for_the_two_files(shown):
    """The report ends with two commands that write it as Markdown and as HTML, for the window that the user typed."""
    _, _, text = shown("--since", "11h")
    assert "\n  payctl report --since 11h > report.md\n" in text
    assert text.endswith("  payctl report --since 11h --html report.html")


@pytest.mark.usefixtures("told")
def test_without_the_extra_the_screen_does_not_suggest_a_page(terminal, database_url, tmp_path):
    """Without the libraries for the HTML page, the report ends with the command for Markdown."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['vl_convert'] = None\n", "utf-8")
    variables = {"DATABASE_URL": database_url, "TZ": "UTC", "PYTHONPATH": str(tmp_path)}
    with terminal("report", "--since", "11h", lines=400, fresh=True, **variables) as it:
        it.finish()
        text = it.text()
    assert text.endswith("  payctl report --since 11h > report.md")
    assert "--html" not in text


def test_the_screen_escapes_external_text_and_shows_no_secret(shown, told):
    """On a terminal, the report escapes control characters in stored text, and does not show account numbers."""
    _, sent, text = shown(*window(told))
    assert ACCOUNT.split("=")[1] not in text
    assert b"\x1b[31m " not in sent
    assert "\u202e" not in text
    assert HOSTILE[:18] in text


def test_each_gap_is_mentioned_once(shown, told):
    """On a terminal, each section that could not be counted says so, and no warning repeats this."""
    since = told.since - timedelta(days=30)
    code, _, text = shown("--since", rfc3339(since))
    assert code == 0
    assert " ".join(text.split()).count("That is longer ago than") == 2
    assert "warning:" not in text
