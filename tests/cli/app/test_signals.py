"""Test, in the test's own process, that a signal ends a command's wait without a deadlock."""

from __future__ import annotations

import signal

import pytest

from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.output.exit_codes import ExitCode


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_a_signal_during_a_wait_does_not_cause_a_deadlock(number, code):
    """A signal ends the main thread's wait, even if the main thread holds the event's lock."""
    with stop_on_signals() as stop:
        with stop.event._cond:  # noqa: SLF001 - the lock that Event.wait holds for an instant
            signal.raise_signal(number)
        assert stop.event.wait(10)
    assert stop.exit_code is code
