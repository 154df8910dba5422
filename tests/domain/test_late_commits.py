"""Test the number of seconds that publishers look back for events that are committed late."""

from __future__ import annotations

from datetime import timedelta

from ticketbottle_payctl.domain.late_commits import COMMIT_WITHIN, IDLE_WITHIN, LATE_COMMITS, WRITE_WITHIN


def test_publishers_look_back_three_seconds():
    """Publishers look back three seconds, because an event can be committed up to three seconds after its timestamp."""
    limits = [limit.total_seconds() for limit in (WRITE_WITHIN, IDLE_WITHIN, COMMIT_WITHIN)]
    assert limits == [1, 1.5, 0.5]
    assert timedelta(seconds=sum(limits)) == LATE_COMMITS
