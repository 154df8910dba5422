"""Test the causes of waiting events of unknown types, which no publisher can send."""

from __future__ import annotations

import pytest

from tests.domain.evidence import COMPLETED, ENDED, READY, seen, typed
from ticketbottle_payctl.domain.causes import causes

UNKNOWN = READY._replace(event_type="REFUND_ISSUED", id="u1", requeued_s=None)
TODO = "the event type REFUND_ISSUED is unknown to payctl, so a replay does not help;"
RUNS = "a publisher sends all waiting events when it runs"


@pytest.mark.parametrize(
    ("waiting", "meaning", "command"),
    [
        ([READY], f"3 events have waited for up to 3 min. Nothing is lost: {RUNS}", "payctl publish-outbox"),
        ([READY, UNKNOWN], (f"6 events have waited for up to 3 min. Nothing is lost: {RUNS}, but 3 of them are of an"
         f" unknown type: {TODO}"), "payctl publish-outbox"),
        ([READY, UNKNOWN._replace(events=1)], (f"4 events have waited for up to 3 min. Nothing is lost: {RUNS}, but 1"
         f" of them is of an unknown type: {TODO}"), "payctl publish-outbox"),
        ([UNKNOWN], "3 events have waited for up to 3 min. No publisher can send them: payctl does not know the type",
         "payctl show u1"),
        ([UNKNOWN._replace(events=1)],
         "1 event has waited for 3 min. No publisher can send it: payctl does not know the type", "payctl show u1"),
    ],
)  # fmt: skip
def test_events_of_unknown_types_are_counted_apart(waiting, meaning, command):
    """If no publisher is running, the cause does not say that a publisher can send events of unknown types."""
    (cause,) = causes(seen(*waiting))
    assert cause.kind == "no_publisher"
    assert cause.meaning.startswith(meaning)
    assert typed(cause.command) == command
    if command != "payctl publish-outbox":
        assert cause.advice.startswith(TODO)


def test_the_next_run_does_not_send_events_of_unknown_types_either():
    """If the last publisher has ended, the cause also counts events of unknown types separately."""
    waiting = [each._replace(requeued_s=5.0) for each in (READY, UNKNOWN)]
    (cause,) = causes(seen(*waiting, publishers=[ENDED]))
    assert (cause.kind, COMPLETED in cause.meaning) == ("between_runs", False)
    assert "3 of them are of an unknown type: the event type REFUND_ISSUED" in cause.meaning
