"""Test the lines below the error of a `publish-outbox` run that could not reach its brokers."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.cli.commands.publish_outbox.without_brokers_words import without_brokers
from ticketbottle_payctl.formats import command_line
from ticketbottle_payctl.jobs.publish_outbox import DeadEvent, Obstacles, StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.report import PublishCounts, PublishReport

LEFT = "events that were not published stay pending"
DOCTOR, ERRORS = "  next:  payctl doctor", "  then:  payctl errors"


@pytest.mark.parametrize(
    ("pending", "dead", "retried", "expected"),
    [
        (2, 0, 0, ["  nothing is lost: 2 events wait, and no retry was used up", DOCTOR]),
        (1, 0, 0, ["  nothing is lost: 1 event waits, and no retry was used up", DOCTOR]),
        (2, 0, 1, ["  nothing is lost: 2 events wait", DOCTOR]),
        (0, 0, 0, ["  nothing is lost: no event is waiting", DOCTOR]),
        (None, 0, 0, [f"  nothing is lost: all {LEFT}", DOCTOR]),
        (None, 0, 1, [f"  nothing is lost: all {LEFT}", DOCTOR]),
        (1, 2, 0, ["  2 events died; 1 event waits", DOCTOR, ERRORS]),
        (3, 1, 4, ["  1 event died; 3 events wait", DOCTOR, ERRORS]),
        (0, 1, 0, ["  1 event died; no event is waiting", DOCTOR, ERRORS]),
        (None, 1, 0, [f"  1 event died; all other {LEFT}", DOCTOR, ERRORS]),
    ],
)
def test_a_run_without_brokers_says_what_it_left(pending, dead, retried, expected):
    """The lines below the error count the dead and the pending events, and mention retries only if none was used up."""
    counts = PublishCounts(retried=retried)
    counts.add_dead([DeadEvent(str(number), "k", "PAYMENT_COMPLETED", "TOO_LARGE: no") for number in range(dead)])
    report = PublishReport(counts, StoppedBecause.BROKER_UNAVAILABLE, 1.0, Obstacles(pending=pending), None)
    assert without_brokers(report, command_line) == expected
