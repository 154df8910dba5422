"""Test each command except publish-outbox by killing it after each SQL statement, write, request and send.

Each test then runs the command again and checks the result.
"""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from uuid import uuid4

import pytest

from tests.checker import audit
from tests.checker.archive import ArchiveFaults, archived_rows, judge_archive
from tests.checker.messages import rows_of
from tests.checker.payments import PaymentFaults, judge_payments, states_of
from tests.checker.receipts import ReceiptFaults, digest, judge_receipts, receipts_of
from tests.checker.runs import RunFaults, judge_runs, replays_of
from tests.faults.shop import Command
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.jobs.replay import ReplayOptions, plan_replay, replay
from ticketbottle_payctl.jobs.runs import list_runs
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = pytest.mark.timeout(300)  # one command for each point takes minutes on a busy machine

ANSWER = ("-y", "--reason", "a test", "-o", "json")
OLD = timedelta(days=9)
WHO = Actor("ops", "bastion", "Linh")


def runs_of(shop):
    """Return the checker's verdict on all recorded runs."""
    shown = [{"id": run.id, "command": run.command, "status": run.status} for run in list_runs(shop.engine, 1000).runs]
    return judge_runs(shown, replays_of(shop.engine), {})


@pytest.mark.parametrize(("scenario", "ends"), [(Scenario.PAID, "COMPLETED"), (Scenario.WRONG_AMOUNT, "PENDING")])
def test_a_callback_is_processed_once_whatever_kills_its_process(shop, scenario, ends):
    """If a process is killed at any point, its callback is stored completely or not at all.

    When the gateway calls again, payctl settles the payment.
    """
    sent, reported = {}, {}

    def begin(_number):
        with shop.engine.begin() as connection:
            payment = insert_payment(connection)
        request = callback(payment, scenario)
        sent[digest(request)] = {"settled", "already_settled", "wrong_amount"}
        reported[payment.id] = ends
        return Command(("process-webhook", "-", "--provider", "zalopay"), request.body, (0, 5))

    def judge(reported, answered):
        noted, states = audit.read(shop.engine), states_of(shop.engine)
        assert judge_payments(noted, states, reported) == PaymentFaults()
        receipts = receipts_of(shop.engine)
        assert judge_receipts(receipts, noted, states, sent=sent, answered=answered, forged={}) == ReceiptFaults()

    for number, command in shop.points(begin):  # noqa: B007 - used after the loop
        judge({}, [])
        shop.good(command)
        judge(reported, sent)
    assert number > 3


def test_a_cleanup_that_is_killed_at_any_point_deletes_only_what_is_archived(shop, tmp_path):
    """After a cleanup is killed, the next cleanup removes an incomplete batch and continues.

    Every event is still in the table, in the archive, or in both.
    """
    archive = tmp_path / "archive.ndjson.gz"
    command = Command(("cleanup", "--archive", str(archive), "--batch-size", "2", *ANSWER))

    def begin(_number):
        with shop.engine.begin() as connection:
            insert_events(connection, 3, state="published", age=OLD)
            insert_events(connection, 1, state="dead", age=OLD)
        return command

    for number, _ in shop.points(begin):
        shop.good(command)
        remaining, archived = rows_of(shop.engine), archived_rows(shop.engine, archive)
        assert judge_archive(audit.read(shop.engine), remaining, archived) == ArchiveFaults()
        assert (len(remaining), len(archived)) == (number, 3 * number)
        assert runs_of(shop) == RunFaults()
    assert number > 20


def requeued(shop):
    """Return how often each event was requeued, according to the recorded runs."""
    return shop.query("SELECT count(*) FROM payctl.run_items WHERE outcome = 'requeued' GROUP BY item_id")


def interrupted(shop):
    """Return the ids of the replays that can be resumed."""
    return [run.id for run in list_runs(shop.engine, 1000).runs if run.status == "interrupted"]


def resume(run_id):
    """Return the command that resumes a replay."""
    return Command(("runs", "resume", run_id, *ANSWER))


def test_a_replay_that_is_killed_at_any_point_requeues_each_event_once(shop):
    """A replay that was recorded before the kill can be resumed.

    If the replay was not recorded, no event was requeued.
    """

    def begin(_number):
        with shop.engine.begin() as connection:
            insert_events(connection, 3, state="dead")
        return Command(("replay", "--failed", *ANSWER))

    for number, command in shop.points(begin):
        for run_id in interrupted(shop):
            shop.good(resume(run_id))
        shop.good(command)
        assert set(shop.query('SELECT "retryCount" FROM outbox')) == {0}
        assert requeued(shop) == [1] * 3 * number
        assert runs_of(shop) == RunFaults()
    assert number > 5


def test_a_resumed_replay_that_is_killed_at_any_point_can_be_resumed_again(shop):
    """Each event is requeued once, however often the replay is killed and resumed."""
    stopped = Event()
    stopped.set()

    def begin(_number):
        with shop.engine.begin() as connection:
            insert_events(connection, 3, state="dead")
        plan = plan_replay(shop.engine, Selector(failed=True), max_retries=5)
        run = NewRun(str(uuid4()), "replay", WHO, reason="a test", options=ReplayOptions().stored())
        assert replay(shop.engine, plan, run, ReplayOptions(), max_retries=5, stop=stopped).requeued == 0
        return resume(run.id)

    for number, command in shop.points(begin):
        for _ in interrupted(shop):
            shop.good(command)
        assert set(shop.query('SELECT "retryCount" FROM outbox')) == {0}
        assert requeued(shop) == [1] * 3 * number
        assert runs_of(shop) == RunFaults()
    assert number > 5


def test_reconcile_payments_that_is_killed_at_any_point_settles_each_payment_once(shop):
    """If `reconcile payments` is killed, settled payments stay settled, with one event each.

    The next run queries the gateways about the remaining payments.
    """
    sent, reported = {}, {}
    with serving(Gateways()) as gateways:
        shop.environment = {**shop.environment, **gateways.environment}

        def begin(number):
            for name in ("payos", "vnpay"):
                reference = f"{number}-{name}"
                with shop.engine.begin() as connection:
                    payment = insert_payment(
                        connection, provider=name.upper(), reference=reference, age=timedelta(hours=1)
                    )
                gateways.states[reference] = "paid"
                reported[payment.id] = "COMPLETED"
            return Command(("reconcile", "payments", "--rate", "1000/s", *ANSWER))

        for number, command in shop.points(begin):  # noqa: B007 - used after the loop
            noted, states = audit.read(shop.engine), states_of(shop.engine)
            assert judge_payments(noted, states, {}) == PaymentFaults()
            shop.good(command)
            noted, states = audit.read(shop.engine), states_of(shop.engine)
            assert judge_payments(noted, states, reported) == PaymentFaults()
            receipts = receipts_of(shop.engine)
            assert judge_receipts(receipts, noted, states, sent=sent, answered=[], forged={}) == ReceiptFaults()
            assert runs_of(shop) == RunFaults()
        assert number > 10
