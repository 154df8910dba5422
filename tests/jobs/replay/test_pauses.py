"""Test that a replay looks for dead events at the right times, and that it can be stopped during its canary."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from threading import Event
from types import SimpleNamespace

import pytest

from ticketbottle_payctl.jobs.replay import ReplayOptions, ReplayOutcome, apply
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres
SOON = timedelta(seconds=20)


class Hasty(Event):
    """A stop event whose waits take no time. It records the length of each wait."""

    def __init__(self):
        super().__init__()
        self.told = []

    def wait(self, timeout=None):
        """Record the length of the wait."""
        self.told.append(timeout)
        return self.is_set()


@pytest.fixture
def dead(engine):
    """Insert six dead events."""
    with engine.begin() as connection:
        insert_events(connection, 6, state="dead")


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize(("seconds", "outcome"), [(0.99, "done"), (1.0, "too_many_errors")])
def test_a_replay_counts_dead_events_at_most_once_a_second(outbox, monkeypatch, seconds, outcome):
    """A replay with --max-errors looks for events that died again if a second has passed since its start."""
    now = [1000.0]
    monkeypatch.setattr(apply, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def die(_decided):
        now[0] = 1000.0 + seconds
        outbox.execute('UPDATE outbox SET "retryCount" = 5 WHERE "retryCount" = 0')

    report = outbox.replay(None, ReplayOptions(rate=2.0, max_errors=1), tell=die, stop=Hasty())
    assert (report.outcome, report.seconds) == (ReplayOutcome(outcome), pytest.approx(seconds))


@pytest.mark.usefixtures("dead")
def test_a_replay_looks_at_its_canary_several_times_a_second(outbox):
    """While a replay waits for its canary, it checks at least twice a second whether the canary has been published."""
    stop, looks = Hasty(), []

    def on_canary(wait):
        looks.append(wait)
        if len(looks) == 3:
            stop.set()

    outbox.replay(None, ReplayOptions(canary=2, canary_patience=SOON), stop=stop, on_canary=on_canary)
    assert [0 < pause <= 0.5 for pause in stop.told] == [True] * 3


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize(("seconds", "waits"), [(19.9, 2), (20.0, 1)])
def test_a_replay_does_not_wait_for_its_canary_after_the_time_limit(outbox, monkeypatch, seconds, waits):
    """If the canary's time limit is reached exactly, the replay stops without another wait."""
    now, lefts = [1000.0], []
    monkeypatch.setattr(apply, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def on_canary(wait):
        lefts.append(wait.left_s)
        now[0] = 1000.0 + (seconds if len(lefts) == 1 else 30)

    options = ReplayOptions(canary=2, canary_patience=SOON)
    assert outbox.replay(None, options, stop=Hasty(), on_canary=on_canary).outcome == ReplayOutcome.CANARY_TIMEOUT
    assert lefts == pytest.approx([20.0, 0.1][:waits])


@pytest.mark.usefixtures("dead")
def test_a_replay_that_is_stopped_during_its_canary_is_not_done(outbox):
    """If a signal arrives while a replay waits for its canary, the run is interrupted, even if no event is left."""
    stop = Event()
    options = ReplayOptions(canary=6, canary_patience=SOON)
    report = outbox.replay(None, options, stop=stop, on_canary=lambda _wait: stop.set())
    assert (report.outcome, report.requeued, report.remaining) == (ReplayOutcome.SIGNAL, 6, 0)
    assert outbox.run(report.run_id).status == "interrupted"


@pytest.mark.usefixtures("dead")
def test_a_plan_without_events_has_no_chunk(outbox):
    """If a plan has no events to requeue, the record of its run contains no chunks."""
    report = outbox.replay(replace(outbox.plan(), events=()))
    assert (report.outcome, report.requeued, report.remaining) == (ReplayOutcome.DONE, 0, 0)
    with outbox.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM payctl.run_chunks").scalar_one() == 0
