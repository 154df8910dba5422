"""Test that the runbook quotes the words that people see on their screens."""

from __future__ import annotations

import inspect
import re

import pytest

from ticketbottle_payctl.cli.commands.show import verdict_words
from ticketbottle_payctl.domain.causes import stopped
from ticketbottle_payctl.errors import BrokerUnavailableError, DatabaseUnavailableError
from ticketbottle_payctl.jobs.order import Remedy, VerdictKind

HARMLESS = {
    VerdictKind.NOT_PAID, VerdictKind.IN_PROGRESS, VerdictKind.TEST_PING, VerdictKind.ENDED, VerdictKind.CLEANED_UP,
}  # fmt: skip
"""The verdicts that the runbook does not explain, because they need no action."""

SENTENCES = {**verdict_words._SENTENCES, **{f"requeued {k}": v for k, v in verdict_words._REQUEUED.items()}}  # noqa: SLF001
SCREENS = "".join(map(inspect.getsource, (verdict_words, stopped))).replace("{often}", "TWICE")


@pytest.fixture(scope="module")
def runbook(root):
    """Return the text of the runbook."""
    return (root / "docs" / "runbook.md").read_text("utf-8")


@pytest.fixture(scope="module")
def verdicts(runbook):
    """Return the quoted words in the first column of the table of verdicts."""
    table = runbook.partition("| the verdict | then |\n|---|---|\n")[2].partition("\n\n")[0]
    return [re.findall(r"`([^`]+)`", row.split(" | ")[0]) for row in table.splitlines()]


def test_the_table_of_verdicts_has_the_words_of_the_screen(verdicts):
    """Each quoted part of a verdict in the runbook is in the code that writes the verdicts."""
    assert len(verdicts) > 20
    for quotes in verdicts:
        assert quotes
        for quote in quotes:
            parts = [part for part in re.split(r"\.\.\.|MSG_SIZE_TOO_LARGE", quote) if part.strip(" ,;:")]
            missing = [part for part in parts if part.strip(" ,;:").removeprefix("but ") not in SCREENS]
            assert missing == [], quote


@pytest.mark.parametrize("kind", sorted({*SENTENCES} - HARMLESS))
def test_every_verdict_that_needs_an_action_is_in_the_runbook(kind, verdicts):
    """The runbook has a row for each verdict of `payctl show` after which an operator must act."""
    template = re.sub(r"\{[a-z_]+\}", "...", SENTENCES[kind])
    quoted = [re.escape(quote).replace(r"\.\.\.", ".*") for quotes in verdicts for quote in quotes]
    shown = {VerdictKind.SECOND_PAYMENT: template.replace("PAID ...", "PAID TWICE")}.get(kind, template)
    shown = shown.replace("published ......", "published ..., read by ...")
    if kind is VerdictKind.UNREAD:
        shown = "published ..., but not read yet by ..."
    if kind in {VerdictKind.OVERDUE, f"requeued {VerdictKind.OVERDUE}"}:
        shown = "the event has waited ..., and no publisher has sent it"
    assert any(re.search(quote, shown) for quote in quoted), shown


def test_the_runbook_and_the_screen_give_the_same_task_for_a_missing_event(runbook):
    """The runbook's row about a missing event contains the whole task that `payctl show` prints."""
    (row,) = re.findall(r"^\| `but no event tells the order service`.*$", runbook, re.MULTILINE)
    assert verdict_words._TODO[Remedy.WRITE_EVENT] in row  # noqa: SLF001


@pytest.mark.parametrize("error", [BrokerUnavailableError, DatabaseUnavailableError])
def test_the_runbook_has_the_codes_of_unavailable_services(error, runbook):
    """In the runbook, each error's name from the logs and its code from the command line are in the same row."""
    (row, *_) = re.findall(rf"^\| `{error.__name__}`.*$", runbook, re.MULTILINE)
    assert f"`{error.code}`" in row


def test_a_sentence_in_the_runbook_begins_with_a_capital_letter(runbook):
    """After a command and a full stop, the runbook's next sentence begins with a capital letter."""
    assert re.findall(r"`\. (?!payctl )[a-z].{0,30}", runbook) == []
