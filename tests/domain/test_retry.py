"""Test the backoff, the retry count and the error text of an event after a failure."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketbottle_payctl.domain.retry import Fault, backoff, error_text, is_dead, retry_count_after

counts = st.integers(0, 2_000_000_000)
limits = st.integers(1, 1000)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 5), (1, 5), (2, 10), (3, 20), (4, 40), (7, 320), (8, 600), (9, 600), (10**9, 600)]
)
def test_the_backoff_doubles_from_5_seconds_to_10_minutes(failures, seconds):
    """The backoff doubles from 5 seconds up to ten minutes, however often an event has failed."""
    assert backoff(failures) == timedelta(seconds=seconds)


@given(counts, counts)
def test_more_failures_never_shorten_the_backoff(one, other):
    """With each failure, the backoff stays the same or grows."""
    assert (backoff(one) <= backoff(other)) or one > other


@given(st.sampled_from([Fault.TRANSPORT, Fault.CONFIGURATION]), counts, limits)
def test_a_transport_or_configuration_fault_costs_no_retry(fault, count, limit):
    """A transport or configuration fault does not change the retry count, however long an outage lasts."""
    assert retry_count_after(fault, count, limit) == count
    assert not fault.is_the_events_own


@given(counts, limits)
def test_the_event_s_own_fault_is_counted(count, limit):
    """A fault that the event itself causes adds one to the event's retry count."""
    assert retry_count_after(Fault.EVENT, count, limit) == count + 1
    assert Fault.EVENT.is_the_events_own
    assert Fault.PERMANENT.is_the_events_own


@given(counts, limits)
def test_a_permanent_fault_makes_the_event_dead_at_once(count, limit):
    """A permanent fault raises an event's retry count to the limit, or by one if the count is already at the limit."""
    after = retry_count_after(Fault.PERMANENT, count, limit)
    assert after >= limit
    assert after > count


@given(st.text(), st.text())
def test_an_error_text_is_one_line_of_at_most_500_characters(code, reason):
    """The error text for ``lastError`` is one line of at most 500 characters."""
    text = error_text(code, reason)
    assert len(text) <= 500
    assert text.splitlines() in ([text], [])


@pytest.mark.parametrize(("count", "dead"), [(0, False), (4, False), (5, True), (6, True)])
def test_an_event_is_dead_from_the_limit_on(count, dead):
    """With at most 5 retries, an event is dead if its retry count is 5 or more."""
    assert is_dead(count, 5) is dead


def test_a_permanent_fault_counts_as_one_if_no_retry_was_left():
    """If the retry count is below the limit, a permanent fault sets it to the limit.

    Otherwise, a permanent fault adds one.
    """
    assert [retry_count_after(Fault.PERMANENT, count, 5) for count in (0, 4, 5, 7)] == [5, 5, 6, 8]


def test_an_error_text_begins_with_its_class():
    """An error text begins with its class and a colon, so that errors can be grouped by class."""
    assert error_text("MSG_SIZE_TOO_LARGE", "Broker:\n too  large") == "MSG_SIZE_TOO_LARGE: Broker: too large"


def test_a_long_error_text_is_cut_after_500_characters():
    """An error text is cut after its 500th character."""
    assert error_text("CODE", "x" * 494) == f"CODE: {'x' * 494}"
    assert error_text("CODE", "x" * 495) == f"CODE: {'x' * 494}"
