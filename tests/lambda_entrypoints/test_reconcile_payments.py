"""Test the function that settles overdue payments in AWS's runtime with test gateways."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.lambda_entrypoints import events
from tests.stand_ins import KEYS, Gateways, serving
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres

TICK = events.read("scheduler-reconcile-payments.json")
ENDS = {"paid": "COMPLETED", "failed": "FAILED", "expired": "CANCELLED"}
NOTHING = {
    "ReconcileSettled": 0, "ReconcileFailed": 0, "ReconcileOpen": 0, "ReconcileOverCap": 0, "ReconcileUnanswered": 0,
    "ReconcileForAPerson": 0,
}  # fmt: skip


@pytest.fixture
def gateways():
    """Yield test gateways."""
    with serving(Gateways()) as served:
        yield served


@pytest.fixture
def overdue(engine, gateways):
    """Return a function that inserts payments that have been PENDING for an hour.

    ``state`` is the gateway's response about the payments.
    """

    def make(number=1, provider="momo", *, state="paid", **changes):
        made = []
        with engine.begin() as connection:
            for _ in range(number):
                reference = f"{provider}-{len(gateways.states)}"
                gateways.states[reference] = state
                values = {"age": timedelta(hours=1), "order_code": f"TB-{reference}", **changes}
                made.append(insert_payment(connection, provider=provider.upper(), reference=reference, **values))
        return made

    return make


@pytest.fixture
def reconciler(lambda_, gateways, database_url):
    """Return a function that starts the reconcile function.

    By default, the reconcile function has the settings from the template.
    """

    def start(*, timeout=60, **environ):
        settings = {"DATABASE_URL": database_url, **gateways.environment, **environ}
        return lambda_("reconcile_payments", timeout=timeout, **settings)

    return start


def states(shop):
    """Return a dictionary that maps each payment's reference to its status, event count and receipt count."""
    rows = shop.query("""
        SELECT "providerTransactionId" AS reference, status::text,
            (SELECT count(*) FROM outbox WHERE "aggregateId" = p.id) AS events,
            (SELECT count(*) FROM payctl.webhook_receipts AS r WHERE r.payment_id = p.id) AS receipts
        FROM payments AS p
    """)
    return {row["reference"]: (row["status"], row["events"], row["receipts"]) for row in rows}


def runs(shop):
    """Return the recorded runs with the count of payments that each changed, starting with the oldest run."""
    return shop.query("""
        SELECT command, status, os_user, reason, counts,
            (SELECT count(*) FROM payctl.run_items AS i WHERE i.run_id = r.id AND i.after IS NOT NULL) AS changed
        FROM payctl.runs AS r ORDER BY started_at
    """)


def slow(seconds):
    """Return a ``tamper`` function that makes the test gateways delay each response by ``seconds``."""
    return lambda _document: time.sleep(seconds)


def test_a_paid_payment_whose_callback_never_arrived_is_settled(reconciler, shop, overdue):
    """If a callback never arrived, the reconcile function settles the payment once, with an event and a receipt."""
    for gateway in GATEWAYS:
        overdue(1, gateway)
    ((failed,), (cancelled,)) = overdue(1, "vnpay", state="failed"), overdue(1, "payos", state="expired")
    pending = overdue(2, "momo", state="pending")
    (young,) = overdue(1, age=timedelta(minutes=5))
    (ancient,) = overdue(1, age=timedelta(days=8))
    function = reconciler()
    answer = function.invoke(TICK).payload
    settled = len(GATEWAYS) + 2
    assert (answer["asked"], answer["settled"], answer["over_cap"]) == (settled + 2, settled, 0)
    found = states(shop)
    assert sorted(found.values()).count(("COMPLETED", 1, 1)) == len(GATEWAYS)
    assert (found[failed.reference], found[cancelled.reference]) == (("FAILED", 1, 1), ("CANCELLED", 1, 1))
    assert {found[payment.reference] for payment in (*pending, young, ancient)} == {("PENDING", 0, 0)}
    assert {name: value for name, value in function.sums().items() if name in NOTHING} == {
        **NOTHING, "ReconcileSettled": settled, "ReconcileOpen": 2,
    }  # fmt: skip
    (run,) = runs(shop)
    assert (run["command"], run["status"], run["reason"]) == ("reconcile payments", "done", "scheduled")
    assert (run["os_user"], run["changed"]) == ("payctl-reconcile_payments", settled)
    again = function.invoke(TICK).payload
    assert (again["asked"], again["settled"], again["run_id"]) == (2, 0, None)
    assert states(shop) == found
    assert not any(key in function.text() for key in KEYS.values() if len(key) > 8)


@pytest.mark.parametrize(("cap", "settled"), [(2, 0), (3, 3)])
def test_a_plan_over_the_cap_changes_nothing(reconciler, shop, overdue, cap, settled):
    """The reconcile function applies a plan as large as the cap, but only logs and counts a larger plan."""
    overdue(3)
    function = reconciler(PAYCTL_RECONCILE_MAX_PAYMENTS=str(cap))
    answer = function.invoke(TICK).payload
    refused = 0 if settled else 3
    assert (answer["settled"], answer["over_cap"]) == (settled, refused)
    assert set(states(shop).values()) == {("COMPLETED", 1, 1) if settled else ("PENDING", 0, 0)}
    assert len(runs(shop)) == (1 if settled else 0)
    assert (function.sums()["ReconcileOverCap"], function.sums()["ReconcileFailed"]) == (refused, 0)
    (line,) = function.lines(message="reconcile_payments")
    assert (line["level"], line["over_cap"]) == ("ERROR" if refused else "INFO", refused)


def test_an_unavailable_gateway_does_not_stop_the_other_gateways(reconciler, shop, overdue):
    """If a gateway is unavailable, the reconcile function settles the other gateways' payments and succeeds."""
    overdue(5, "zalopay")
    overdue(2, "momo")
    function = reconciler(PAYCTL_ZALOPAY_URL="http://127.0.0.1:1")
    answer = function.invoke(TICK).payload
    assert (answer["asked"], answer["settled"]) == (7, 2)
    assert function.sums()["ReconcileUnanswered"] == 5
    (line,) = function.lines(message="reconcile_unanswered")
    assert (line["provider"], line["payments"], line["says"]) == ("zalopay", 5, "unreachable")
    assert reconciler().invoke(TICK).payload["settled"] == 5
    assert set(states(shop).values()) == {("COMPLETED", 1, 1)}


@pytest.mark.parametrize(
    ("state", "amount", "name"),
    [("paid", 1, "ReconcileForAPerson"), ("odd", 250_000, "ReconcileForAPerson"), ("busy", 1, "ReconcileUnanswered")],
)
def test_an_answer_that_needs_manual_review_changes_nothing(reconciler, shop, overdue, gateways, state, amount, name):
    """If the amount is wrong or the state is unknown, the reconcile function changes nothing and logs the order."""
    (payment,) = overdue(state=state)
    gateways.amounts[payment.reference] = amount
    function = reconciler(timeout=45)
    assert function.invoke(TICK).payload["settled"] == 0
    assert set(states(shop).values()) == {("PENDING", 0, 0)}
    assert {n: value for n, value in function.sums().items() if n in NOTHING} == {**NOTHING, name: 1}
    lines = function.lines(message="reconcile_for_a_person")
    assert [line["order_code"] for line in lines] == ([payment.order_code] if name == "ReconcileForAPerson" else [])


def test_the_function_ends_before_lambda_s_deadline(reconciler, shop, overdue, gateways):
    """The reconcile function ends before Lambda's deadline.

    It settles the payments with known results, and counts the others.
    """
    overdue(40)
    gateways.tamper = slow(0.5)
    function = reconciler(timeout=36)  # 30 of these seconds are the reserve
    answer = function.invoke(TICK)
    asked = len(gateways.asked)
    assert answer.seconds < 12
    assert 0 < asked < 40
    assert 0 < answer.payload["settled"] <= asked
    sums = function.sums()
    assert sums["ReconcileUnanswered"] + sums["ReconcileFailed"] == 40 - answer.payload["settled"]
    gateways.tamper = lambda _document: None
    assert reconciler().invoke(TICK).payload["settled"] == 40 - answer.payload["settled"]
    assert set(states(shop).values()) == {("COMPLETED", 1, 1)}


def test_two_functions_at_once_settle_each_payment_once(reconciler, shop, overdue, gateways):
    """If two reconcile runs overlap, each payment is settled once, and neither run reports a failure."""
    both = [reconciler(), reconciler()]
    for function in both:
        function.invoke(TICK)  # so that neither run waits for the other's cold start
    overdue(10)
    meeting = threading.Barrier(2, timeout=30)
    gateways.tamper = lambda _document: meeting.wait()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda function: function.invoke(TICK).payload, both))
    assert [answer["asked"] for answer in answers] == [10, 10]
    assert sum(answer["settled"] for answer in answers) == 10
    assert set(states(shop).values()) == {("COMPLETED", 1, 1)}
    assert sum(function.sums()["ReconcileFailed"] for function in both) == 0
    assert sum(run["changed"] for run in runs(shop)) == 10


@pytest.mark.parametrize("while_", ["asking", "settling"])
def test_a_run_that_is_killed_is_completed_by_the_next_one(reconciler, shop, overdue, gateways, while_):
    """If a reconcile run is killed, its committed payments stay settled, and the next run settles the rest once."""
    overdue(30)
    function = reconciler()
    with ThreadPoolExecutor(1) as pool:
        if while_ == "asking":
            ended = pool.submit(function.invoke, TICK)
            wait_until(lambda: len(gateways.asked) >= 5, what="some gateways were asked", timeout=30)
            function.signal(signal.SIGKILL)
            ended.result(30)
        else:
            # The last payment that the run would settle is locked, so that the run is waiting when it is killed.
            with shop.engine.connect() as other:
                other.exec_driver_sql("SELECT id FROM payments WHERE \"providerTransactionId\" = 'momo-9' FOR UPDATE")
                ended = pool.submit(function.invoke, TICK)
                waiting = (
                    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
                wait_until(lambda: shop.query(waiting), what="the run waits for a payment", timeout=30)
                function.signal(signal.SIGKILL)
                ended.result(30)
                other.rollback()
    wait_until(lambda: not shop.query(BUSY), what="the server has noticed", timeout=20)
    before = [found[0] for found in states(shop).values()].count("COMPLETED")
    assert before == 0 if while_ == "asking" else 0 < before < 30
    assert reconciler().invoke(TICK).payload["settled"] == 30 - before
    assert set(states(shop).values()) == {("COMPLETED", 1, 1)}
    assert sum(run["changed"] for run in runs(shop)) == 30
    assert [run["status"] for run in runs(shop)][-1] == "done"


BUSY = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND starts_with(application_name, 'payctl reconcile')
"""


def test_a_payment_that_another_session_has_locked_is_a_failure_of_this_run_only(reconciler, shop, overdue):
    """A reconcile run counts a locked payment as failed, but settles the other payments."""
    overdue(3)
    function = reconciler()
    with shop.engine.connect() as other:
        other.exec_driver_sql("SELECT id FROM payments WHERE \"providerTransactionId\" = 'momo-1' FOR UPDATE")
        assert function.invoke(TICK).payload["settled"] == 2
        other.rollback()
    assert function.sums()["ReconcileFailed"] == 1
    assert function.invoke(TICK).payload["settled"] == 1
    assert set(states(shop).values()) == {("COMPLETED", 1, 1)}


def test_a_reconciler_without_its_database_raises(reconciler):
    """If the database is unavailable, the reconcile function raises an error that does not contain the password."""
    words = "a-password-of-mine"
    function = reconciler(DATABASE_URL=f"postgresql://127.0.0.1:1/payments?user=somebody&password={words}")
    error = function.invoke(TICK).payload
    assert error["errorType"] == "DatabaseUnavailableError"
    assert words not in function.text() + str(error)
