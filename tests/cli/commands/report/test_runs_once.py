"""Test that the timeline of a report has one entry for each run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.cli.commands.report.document import cell, plain
from ticketbottle_payctl.cli.commands.report.sentence import moment_sentence, with_runs_once
from ticketbottle_payctl.jobs.report.model import Moment, MomentKind

START = datetime(2026, 11, 30, 8, tzinfo=UTC)
LATER = START + timedelta(minutes=3)
BEGUN = Moment(START, MomentKind.RUN_STARTED, "a", "replay")
DONE = Moment(LATER, MomentKind.RUN_ENDED, "a", "replay: done")
OTHER = Moment(LATER, MomentKind.RUN_ENDED, "b", "cleanup: interrupted")
REFUSED = Moment(START, MomentKind.FIRST_REFUSED, "a", "wrong_amount")


@pytest.mark.parametrize(
    ("timeline", "said"),
    [
        ([BEGUN, DONE], ["an operator ran replay; done at 2026-11-30 08:03:00"]),
        ([BEGUN], ["an operator started replay"]),
        ([DONE], ["a run ended: replay: done"]),
        ([BEGUN, OTHER, DONE],
         ["an operator ran replay; done at 2026-11-30 08:03:00", "a run ended: cleanup: interrupted"]),
        ([BEGUN, REFUSED, DONE],
         ["an operator ran replay; done at 2026-11-30 08:03:00", "first refused callback: wrong_amount"]),
        ([BEGUN._replace(what="cdc cut-over"), DONE._replace(what="cdc cut-over: failed")],
         ["an operator ran cdc cut-over; failed at 2026-11-30 08:03:00"]),
    ],
)  # fmt: skip
def test_a_run_that_started_and_ended_in_the_window_is_one_entry(timeline, said):
    """A run that started and ended in the window has one entry. Any other run has an entry for its start or its end."""
    assert [moment_sentence(each, UTC, plain) for each in with_runs_once(timeline)] == said


def test_markdown_quotes_the_command_and_the_status_of_a_run():
    """In Markdown, the command and the status of a run are code spans, because they come from the database."""
    (moment,) = with_runs_once([BEGUN, DONE])
    assert moment_sentence(moment, UTC, cell) == "an operator ran `replay`; `done` at 2026-11-30 08:03:00"
