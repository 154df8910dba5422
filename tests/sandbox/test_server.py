"""Test the functions that wait for a local server."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.sandbox.server import wait_until


def test_a_wait_ends_with_the_first_true_value():
    """The values None, False, 0 and an empty list do not end a wait, because they mean "not yet"."""
    answers = iter([None, False, 0, [], ["row"], ["later row"]])
    assert wait_until(lambda: next(answers), what="a row", timeout=20, pause=0) == ["row"]


def test_a_wait_that_times_out_names_what_it_waited_for():
    """If a wait times out, the error contains the time limit and what the wait was for."""
    with pytest.raises(UnavailableError, match=r"^not reached within 0\.01 s: a row$"):
        wait_until(list, what="a row", timeout=0.01)
