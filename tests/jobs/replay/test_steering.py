"""Test the control of a replay by its canary, rate, errors, interruption, resumption and cancellation."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest

from ticketbottle_payctl.errors import GuardError, LockedError
from ticketbottle_payctl.jobs.replay import ReplayOptions, ReplayOutcome, cancel_run, report_finished, resume_run
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.payctl.runs import Actor

pytestmark = pytest.mark.postgres
SOON = timedelta(seconds=20)
WHO = Actor("night-shift", "laptop", "Minh")


class Pauses(Event):
    """A stop event that is never set and records the length of each wait."""

    def __init__(self):
        super().__init__()
        self.told = []

    def wait(self, timeout=None):
        """Record the length of the wait, and wait."""
        self.told.append(timeout)
        return super().wait(timeout)


@pytest.fixture
def dead(engine):
    """Insert 30 dead events."""
    with engine.begin() as connection:
        insert_events(connection, 30, state="dead")


@pytest.mark.usefixtures("dead")
def test_the_other_events_follow_after_the_canary_is_published(outbox, publish):
    """A replay requeues the oldest events as its canary. It requeues the other events after the canary is published."""
    with ThreadPoolExecutor(1) as pool:
        replayed = pool.submit(outbox.replay, None, ReplayOptions(canary=4, canary_patience=SOON))
        wait_until(lambda: outbox.states() == (4, 26, 0), what="the canary to be requeued", timeout=10)
        assert publish().counts.published == 4
        report = replayed.result(20)
    assert (report.outcome, report.requeued) == (ReplayOutcome.DONE, 30)
    assert outbox.states() == (26, 0, 4)


@pytest.mark.usefixtures("dead")
def test_a_replay_reports_its_wait_for_the_canary(outbox, publish):
    """A replay that waits for its canary reports the published events, the time left and the publisher's state."""
    told = []

    def on_canary(wait):
        told.append(wait)
        if len(told) == 3:
            publish()

    report = outbox.replay(None, ReplayOptions(canary=4, canary_patience=SOON), on_canary=on_canary)
    assert (report.outcome, report.publishing.running) == (ReplayOutcome.DONE, True)
    assert {(wait.published, wait.events) for wait in told} == {(0, 4)}
    lefts = [wait.left_s for wait in told]
    assert lefts == sorted(lefts, reverse=True)
    assert [wait.publishing.running for wait in told[:3]] == [False] * 3
    assert SOON.total_seconds() >= lefts[0] > lefts[-1] > 0


@pytest.mark.usefixtures("dead")
def test_a_canary_that_is_being_published_shows_a_running_publisher(outbox):
    """If a canary event is published, a replay reports a running publisher, even if there is no heartbeat."""
    told = []

    def on_canary(wait):
        told.append(wait)
        sent = {2: outbox.ids()[:1], 3: outbox.ids()[:4]}.get(len(told), [])
        for name in sent:
            outbox.execute('UPDATE outbox SET published = true, "publishedAt" = now() WHERE id = %(id)s', id=name)

    report = outbox.replay(None, ReplayOptions(canary=4, canary_patience=SOON), on_canary=on_canary)
    seen = [(wait.published, wait.events, wait.publishing.running, wait.publishing.activity) for wait in told]
    assert seen == [(0, 4, False, "never_seen"), (0, 4, False, "never_seen"), (1, 4, True, "running")]
    assert (report.outcome, report.publishing.running) == (ReplayOutcome.DONE, True)


@pytest.mark.usefixtures("dead")
def test_a_canary_without_a_publisher_says_that_none_is_running(outbox):
    """If no publisher was seen, a replay with a canary says so, and a replay without a canary says nothing."""
    options = ReplayOptions(canary=3, canary_patience=timedelta(milliseconds=50))
    assert outbox.replay(None, options).publishing.running is False
    assert outbox.replay().publishing is None


@pytest.mark.usefixtures("dead")
def test_a_canary_that_dies_stops_the_run(outbox):
    """If a canary event dies again, the replay stops and does not requeue the other events."""
    with ThreadPoolExecutor(1) as pool:
        replayed = pool.submit(outbox.replay, None, ReplayOptions(canary=2, canary_patience=SOON))
        wait_until(lambda: outbox.states()[0] == 2, what="the canary to be requeued", timeout=10)
        outbox.execute('UPDATE outbox SET "retryCount" = 5 WHERE id = %(id)s', id=outbox.ids()[0])
        report = replayed.result(20)
    assert (report.outcome, report.requeued, report.failed) == (ReplayOutcome.CANARY_FAILED, 2, 1)
    assert (report.remaining, outbox.run(report.run_id).status) == (28, "stopped")


@pytest.mark.usefixtures("dead")
def test_a_run_stops_if_no_canary_event_can_be_requeued(outbox, engine):
    """If no canary event can be requeued, neither the replay nor a resumed run requeues any other event."""
    plan, (changed, held, gone) = outbox.plan(), outbox.ids()[:3]
    outbox.execute("UPDATE outbox SET \"lastError\" = 'other' WHERE id = %(id)s", id=changed)
    outbox.execute("DELETE FROM outbox WHERE id = %(id)s", id=gone)
    with engine.connect() as holder, holder.begin():
        holder.exec_driver_sql("SELECT id FROM outbox WHERE id = %(id)s FOR UPDATE", {"id": held})
        report = outbox.replay(plan, ReplayOptions(canary=3, canary_patience=SOON))
    assert (report.outcome, report.requeued, report.remaining) == (ReplayOutcome.CANARY_EMPTY, 0, 27)
    assert (outbox.run(report.run_id).status, outbox.states()) == ("stopped", (0, 29, 0))
    again = resume_run(engine, outbox.run(report.run_id), WHO, max_retries=5)
    assert (again.outcome, again.remaining) == (ReplayOutcome.CANARY_EMPTY, 27)


@pytest.mark.usefixtures("dead")
def test_errors_of_canary_events_count_towards_max_errors(outbox, engine):
    """Locked canary events count as errors, and the replay stops at --max-errors."""
    plan = outbox.plan()
    with engine.connect() as holder, holder.begin():
        held = {"ids": outbox.ids()[:2]}
        holder.exec_driver_sql("SELECT id FROM outbox WHERE id = ANY(%(ids)s) FOR UPDATE", held)
        report = outbox.replay(plan, ReplayOptions(canary=4, canary_patience=SOON, max_errors=2))
    assert (report.outcome, report.requeued, report.remaining) == (ReplayOutcome.TOO_MANY_ERRORS, 2, 26)


@pytest.mark.usefixtures("dead")
def test_a_run_whose_canary_is_not_published_stops_and_can_be_resumed(outbox, engine, publish):
    """If a canary is not published in time, the replay stops. A resumed run waits for the canary again."""
    options = ReplayOptions(canary=3, canary_patience=timedelta(milliseconds=50))
    report = outbox.replay(None, options)
    assert (report.outcome, report.requeued, report.remaining) == (ReplayOutcome.CANARY_TIMEOUT, 3, 27)
    again = resume_run(engine, outbox.run(report.run_id), WHO, max_retries=5)
    assert (again.outcome, again.requeued) == (ReplayOutcome.CANARY_TIMEOUT, 3)
    publish()
    last = resume_run(engine, outbox.run(report.run_id), WHO, max_retries=5)
    assert (last.outcome, last.requeued, outbox.states()) == (ReplayOutcome.DONE, 30, (27, 0, 3))


@pytest.mark.usefixtures("dead")
def test_a_replay_keeps_its_rate(outbox):
    """At a rate of 100 events a second, a replay of 30 events takes at least 0.25 seconds."""
    began = time.monotonic()
    report = outbox.replay(None, ReplayOptions(rate=100.0))
    assert report.requeued == 30
    assert time.monotonic() - began >= 0.25
    slow = ReplayOptions(rate=0.5)
    assert (slow.chunk, ReplayOptions(rate=250.0).chunk, ReplayOptions().chunk) == (1, 250, 1000)


@pytest.mark.usefixtures("dead")
def test_a_replay_does_not_exceed_its_rate_after_a_stall(outbox):
    """After a stall, a replay continues at its rate and does not go faster to catch up."""
    heard, stop = [], Pauses()

    def stall(_decided):
        if not heard:
            Event().wait(1.5)
        heard.append(time.monotonic())

    assert outbox.replay(None, ReplayOptions(rate=10.0), tell=stall, stop=stop).requeued == 30
    assert heard[2] - heard[1] >= 0.9
    assert stop.told[0] == 0  # no pause follows the late chunk


@pytest.mark.usefixtures("dead")
def test_a_replay_is_done_if_a_signal_arrives_after_its_last_event(outbox):
    """If a signal arrives after a replay has requeued its last event, the replay counts as done."""
    stop = Event()
    report = outbox.replay(stop=stop, tell=lambda _decided: stop.set())
    assert (report.outcome, outbox.run(report.run_id).status) == (ReplayOutcome.DONE, "done")


@pytest.mark.usefixtures("dead")
def test_a_run_stops_at_max_errors(outbox, engine):
    """Locked rows count as errors of a replay, and the replay stops at --max-errors."""
    plan = outbox.plan()
    with engine.connect() as holder, holder.begin():
        holder.exec_driver_sql("SELECT id FROM outbox FOR UPDATE")
        report = outbox.replay(plan, ReplayOptions(rate=10.0, max_errors=5))
    assert (report.outcome, report.failed, report.remaining) == (ReplayOutcome.TOO_MANY_ERRORS, 10, 20)


@pytest.mark.usefixtures("dead")
def test_events_that_die_again_are_errors(outbox):
    """If requeued events die again, they count as errors of the replay."""

    def die(_decided):
        outbox.execute('UPDATE outbox SET "retryCount" = 5 WHERE "retryCount" = 0')

    report = outbox.replay(None, ReplayOptions(rate=5.0, max_errors=1), tell=die)
    assert (report.outcome, report.remaining > 0) == (ReplayOutcome.TOO_MANY_ERRORS, True)
    assert report.progress.dead == report.failed == report.requeued


def test_only_a_running_run_of_another_command_cannot_be_cancelled(outbox, engine):
    """A run of another command cannot be cancelled while it is running, but can be cancelled once it is interrupted."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
    run = outbox.run(outbox.replay().run_id)
    with pytest.raises(GuardError, match="cleanup\\) is running, and this command cannot stop it"):
        cancel_run(engine, replace(run, command="cleanup", status="running"), WHO)
    assert cancel_run(engine, replace(run, command="cleanup", status="interrupted"), WHO) == 0


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("incomplete", "`payctl runs list`, or run the command again to do the rest"),
        ("done", "payctl runs list"),
        ("stopped", "payctl runs list"),
    ],
)
def test_only_an_incomplete_run_of_another_command_can_be_run_again(outbox, engine, status, hint):
    """A run of another command cannot be resumed. If it is incomplete, the hint says that running it again helps."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
    run = outbox.run(outbox.replay().run_id)
    with pytest.raises(GuardError, match="is a cleanup: there is nothing to resume") as raised:
        resume_run(engine, replace(run, command="cleanup", status=status), WHO, max_retries=5)
    assert raised.value.hint == hint


def test_a_report_names_the_first_hundred_events_that_were_not_requeued(outbox, engine):
    """A replay's report counts all events that were not requeued, and lists the first hundred."""
    with engine.begin() as connection:
        insert_events(connection, 101, state="dead")
    plan = outbox.plan()
    outbox.execute("DELETE FROM outbox")
    report = outbox.replay(plan)
    assert (report.skipped, len(report.left_alone)) == (101, 100)


@pytest.mark.usefixtures("dead")
def test_an_interrupted_run_is_resumed_without_requeueing_an_event_twice(outbox, engine):
    """If an interrupted replay is resumed, it requeues only the remaining events."""
    stop = Event()
    report = outbox.replay(None, ReplayOptions(rate=10.0), stop=stop, tell=lambda _decided: stop.set())
    assert (report.outcome, report.requeued, report.remaining) == (ReplayOutcome.SIGNAL, 10, 20)
    assert outbox.run(report.run_id).status == "interrupted"
    outbox.execute('UPDATE outbox SET "retryCount" = 4 WHERE id = %(id)s', id=outbox.ids()[0])
    resumed = resume_run(engine, outbox.run(report.run_id), WHO, max_retries=5)
    assert (resumed.outcome, resumed.requeued, resumed.remaining) == (ReplayOutcome.DONE, 30, 0)
    assert outbox.rows('"retryCount"')[0] == (4,)
    assert len(outbox.items(report.run_id)) == 30


@pytest.mark.usefixtures("dead")
def test_a_run_that_is_stopped_before_its_last_transaction_is_not_done(outbox):
    """If a signal arrives before a replay's last transaction, the run is recorded as interrupted and not as done."""
    stop = Event()
    report = outbox.replay(None, ReplayOptions(rate=20.0), stop=stop, tell=lambda _decided: stop.set())
    assert (report.outcome, report.requeued, report.remaining) == (ReplayOutcome.SIGNAL, 20, 10)
    assert outbox.run(report.run_id).status == "interrupted"


@pytest.mark.usefixtures("dead")
def test_a_run_stops_if_another_process_cancels_it(outbox, engine):
    """A replay that another process cancels stops before its next transaction and cannot be resumed."""
    seen = []

    def cancel(_decided):
        if not seen:
            seen.append(cancel_run(engine, outbox.run("a0000000"), WHO))

    report = outbox.replay(None, ReplayOptions(rate=10.0), run_id="a0000000-0000-4000-8000-000000000000", tell=cancel)
    assert (report.outcome, report.requeued, seen) == (ReplayOutcome.CANCELLED, 10, [20])
    assert (outbox.run(report.run_id).status, outbox.states()) == ("cancelled", (10, 20, 0))
    with pytest.raises(GuardError, match="cancelled"):
        resume_run(engine, outbox.run(report.run_id), WHO, max_retries=5)


@pytest.mark.usefixtures("dead")
def test_a_second_process_cannot_execute_a_running_run(outbox, engine):
    """If a replay is running, another process cannot resume its run."""
    run_id = "b0000000-0000-4000-8000-000000000000"
    stop, seen = Event(), []

    def second(_decided):
        with pytest.raises(LockedError, match="running in another process"):
            resume_run(engine, outbox.run(run_id), WHO, max_retries=5)
        seen.append(outbox.run(run_id).status)
        stop.set()

    outbox.replay(None, ReplayOptions(rate=10.0), run_id=run_id, stop=stop, tell=second)
    assert outbox.run(run_id).status == "interrupted"
    resume_run(engine, outbox.run(run_id), WHO, max_retries=5, tell=second)
    assert (set(seen), outbox.run(run_id).status) == ({"running"}, "done")


@pytest.mark.usefixtures("dead")
def test_a_run_whose_process_has_ended_is_interrupted(outbox, engine):
    """If a replay's process has ended, its run counts as interrupted and can be resumed."""
    run_id = "c0000000-0000-4000-8000-000000000000"

    def fail(_decided):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outbox.replay(None, ReplayOptions(rate=10.0), run_id=run_id, tell=fail)
    assert outbox.run(run_id).status == "interrupted"
    assert resume_run(engine, outbox.run(run_id), WHO, max_retries=5).requeued == 30


@pytest.mark.usefixtures("dead")
def test_a_cancelled_run_records_how_many_events_it_did_not_reach(outbox, engine):
    """If a run is cancelled after its process has ended, its record counts the events that the run did not reach."""
    run_id = "d0000000-0000-4000-8000-000000000000"

    def fail(_decided):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outbox.replay(None, ReplayOptions(rate=10.0), run_id=run_id, tell=fail)
    assert cancel_run(engine, outbox.run(run_id), WHO) == 20
    assert (outbox.run(run_id).status, outbox.run(run_id).counts["remaining"]) == ("cancelled", 20)


@pytest.mark.usefixtures("dead")
def test_a_run_that_loses_its_lock_still_reports_its_counts(outbox):
    """If a replay loses only its lock, it still ends with its usual report."""
    idle = "state = 'idle in transaction' AND datname = current_database() AND pid <> pg_backend_pid()"
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {idle}"  # noqa: S608
    cuts = []
    report = outbox.replay(None, ReplayOptions(rate=20.0), tell=lambda _decided: cuts.append(outbox.execute(cut)))
    assert cuts[0] == 1
    assert (report.outcome, report.requeued, outbox.run(report.run_id).status) == (ReplayOutcome.DONE, 30, "done")


@pytest.mark.usefixtures("dead")
def test_each_actor_of_a_run_is_recorded(outbox, engine):
    """Each time a run is resumed or cancelled, payctl records the actor, the time and the reason."""
    options = ReplayOptions(canary=3, canary_patience=timedelta(milliseconds=50))
    run_id = outbox.replay(None, options).run_id
    resume_run(engine, outbox.run(run_id), WHO, "the publisher is back", max_retries=5)
    cancel_run(engine, outbox.run(run_id), Actor("day-shift", "desk"), "it is not")
    run = outbox.run(run_id)
    assert [(act.deed, act.who, act.reason) for act in run.acts] == [
        ("resumed", WHO, "the publisher is back"),
        ("cancelled", Actor("day-shift", "desk"), "it is not"),
    ]
    assert run.started_at <= run.acts[0].at <= run.acts[1].at <= run.finished_at
    assert (run.who.os_user, run.acts[0].db_role) == ("ops", run.db_role)


@pytest.mark.usefixtures("dead")
def test_a_run_that_is_done_stays_done(outbox, engine):
    """If a run that is done is cancelled or resumed, it stays done."""
    report = outbox.replay()
    assert cancel_run(engine, outbox.run(report.run_id), WHO) == 0
    assert resume_run(engine, outbox.run(report.run_id), WHO, max_retries=5).requeued == 30
    assert outbox.run(report.run_id).status == "done"
    finished = report_finished(engine, outbox.run(report.run_id), max_retries=5)
    assert (finished.requeued, finished.requeued_now, finished.seconds) == (30, 0, 0)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_resumed_run_has_its_original_options(allowed):
    """A resumed replay has exactly the options that were stored with its run."""
    options = ReplayOptions(
        allow_published=allowed,
        allow_superseded=True,
        rate=7.5,
        canary=3,
        canary_patience=timedelta(seconds=9),
        max_errors=2,
    )
    assert ReplayOptions.restored(options.stored()) == options


def test_a_run_recorded_by_an_earlier_version_keeps_its_plan_s_permission():
    """If a run's record does not say whether published events are allowed, a resumed replay allows them."""
    assert ReplayOptions.restored({}) == ReplayOptions(allow_published=True)
