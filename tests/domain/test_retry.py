from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketbottle_payctl.domain.retry import Fault, backoff, error_text, retry_count_after

counts = st.integers(0, 2_000_000_000)
limits = st.integers(1, 1000)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 5), (1, 5), (2, 10), (3, 20), (4, 40), (7, 320), (8, 600), (9, 600), (10**9, 600)]
)
def test_pauses_double_from_five_seconds_to_ten_minutes(failures, seconds):
    """However often an event failed, it is tried again within ten minutes."""
    assert backoff(failures) == timedelta(seconds=seconds)


@given(counts, counts)
def test_more_failures_never_mean_a_shorter_pause(one, other):
    """The pause grows with the failures."""
    assert (backoff(one) <= backoff(other)) or one > other


@given(st.sampled_from([Fault.TRANSPORT, Fault.CONFIGURATION]), counts, limits)
def test_what_is_not_the_event_s_fault_costs_nothing(fault, count, limit):
    """An outage of any length leaves every retry there."""
    assert retry_count_after(fault, count, limit) == count
    assert not fault.is_the_events_own


@given(counts, limits)
def test_the_event_s_own_fault_is_counted(count, limit):
    """One more with each failure, whatever the limit."""
    assert retry_count_after(Fault.EVENT, count, limit) == count + 1


@given(counts, limits)
def test_a_permanent_fault_is_dead_at_once(count, limit):
    """The new count is at the limit, and never less than it was."""
    after = retry_count_after(Fault.PERMANENT, count, limit)
    assert after >= limit
    assert after > count


@given(st.text(), st.text())
def test_an_error_is_one_bounded_line(code, reason):
    """``"lastError"`` is read in tables: class and text, no line breaks, no more than 500 characters."""
    text = error_text(code, reason)
    assert len(text) <= 500
    assert text.splitlines() in ([text], [])


def test_an_error_names_its_class_first():
    """What kind it was can be counted by the text before the colon."""
    assert error_text("MSG_SIZE_TOO_LARGE", "Broker:\n too  large") == "MSG_SIZE_TOO_LARGE: Broker: too large"
