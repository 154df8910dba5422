"""Test the scheduled reconcile with a real database and a stand-in for the gateways."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from tests.stand_ins import KEYS, Gateways
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.jobs.reconcile import settle_overdue as job
from ticketbottle_payctl.jobs.reconcile.settle_overdue import UnattendedOptions, settle_overdue
from ticketbottle_payctl.jobs.reconcile.status_poller import AskOptions, StatusEndpoint
from ticketbottle_payctl.providers import by_name, credentials
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
WHO = Actor("reconcile", "lambda")


class Scheduled:
    """The scheduled job, and a stand-in for MoMo and ZaloPay. ``waits`` contains the time limit of each query."""

    def __init__(self, engine) -> None:
        self.engine, self.gateways, self.waits = engine, Gateways(), []
        self.before_answer = lambda _reference: None

    def insert(self, reference, state="paid", *, gateway="momo", age=HOUR):
        """Insert a payment that has been PENDING for ``age``."""
        self.gateways.states[reference] = state
        with self.engine.begin() as connection:
            return insert_payment(
                connection, provider=gateway.upper(), reference=reference, order_code=f"TB-{reference}", age=age
            )

    def endpoint(self, gateway):
        """Return an endpoint whose responses come from the stand-in."""
        query = QUERIES[gateway]
        keys = credentials(by_name(gateway), lambda name: (Secret(KEYS[name]),) if name in KEYS else ())

        def exchange(asked, wait):
            self.waits.append(wait)
            self.before_answer(asked.reference)
            body = query.ask(asked, keys, "").body.decode()
            answer = getattr(self.gateways, gateway)(body if gateway == "zalopay" else json.loads(body))
            return HttpResponse(200, json.dumps(answer).encode())

        return StatusEndpoint(query, keys, exchange)

    def run(self, *, most_settled=10, budget=timedelta(minutes=1), **options):
        """Run the scheduled job once and return its report."""
        chosen = UnattendedOptions(most_settled, budget, rate=1000.0, **options)
        endpoints = {gateway: self.endpoint(gateway) for gateway in ("momo", "zalopay")}
        return settle_overdue(self.engine, endpoints, chosen, WHO)

    def execute(self, sql, **parameters):
        """Run a statement in another session and commit."""
        with self.engine.begin() as connection:
            connection.execute(text(sql), parameters)

    def recorded(self, report):
        """Return the counts that were recorded for a run."""
        with self.engine.connect() as connection:
            return runs.find(connection, report.run_id)[0].counts

    def status(self, payment):
        """Return a payment's status."""
        with self.engine.connect() as connection:
            return connection.execute(
                text("SELECT status::text FROM payments WHERE id = :id"), {"id": payment.id}
            ).scalar_one()


@pytest.fixture
def scheduled(engine):
    """Return the scheduled job with the test's database."""
    return Scheduled(engine)


def test_a_plan_within_the_cap_is_settled_and_recorded(scheduled):
    """The scheduled reconcile settles paid and failed payments, leaves others pending, and records its run."""
    paid, failed, pending = (scheduled.insert(name, name) for name in ("paid", "failed", "pending"))
    report = scheduled.run(most_settled=2)
    assert [scheduled.status(one) for one in (paid, failed, pending)] == ["COMPLETED", "FAILED", "PENDING"]
    assert (report.counts["settled"], report.counts["pending"], report.failed, report.unanswered) == (2, 1, 0, 0)
    assert (report.over_cap, report.more, report.for_a_person, report.without_answer) == (0, False, [], [])
    assert scheduled.recorded(report) == {"matched": 2, "settled": 2, "skipped": 0}
    assert set(scheduled.waits) == {timedelta(seconds=10)}


def test_a_plan_over_the_cap_changes_nothing(scheduled):
    """If a plan is over the cap, the scheduled reconcile does not change a payment or record a run."""
    payments = [scheduled.insert(name, "paid") for name in ("a", "b")]
    report = scheduled.run(most_settled=1)
    assert [scheduled.status(one) for one in payments] == ["PENDING", "PENDING"]
    assert (report.over_cap, report.failed, report.run_id, dict(report.done)) == (2, 0, None, {})


@pytest.mark.parametrize(
    ("gateway", "age", "asked"),
    [
        ("momo", timedelta(minutes=19), False),
        ("momo", timedelta(minutes=21), True),
        ("momo", timedelta(days=6, hours=23), True),
        ("momo", timedelta(days=7, hours=1), False),
        ("zalopay", timedelta(hours=47), True),
        ("zalopay", timedelta(hours=49), False),
    ],
)
def test_only_payments_of_the_right_age_are_asked_about(scheduled, gateway, age, asked):
    """The scheduled reconcile queries only payments that are neither too young nor too old for their gateway."""
    payment = scheduled.insert("one", gateway=gateway, age=age)
    report = scheduled.run()
    assert (len(report.findings), scheduled.status(payment)) == ((1, "COMPLETED") if asked else (0, "PENDING"))


@pytest.mark.parametrize(("most", "asked", "more"), [(2, 2, True), (3, 3, False), (4, 3, False)])
def test_more_payments_than_may_be_asked_about_are_left_to_the_next_run(scheduled, most, asked, more):
    """If there are more payments than one run is allowed to query, the next run queries the remaining ones."""
    for name in ("a", "b", "c"):
        scheduled.insert(name)
    report = scheduled.run(most_asked=most)
    assert (report.counts["settled"], report.more, report.unanswered) == (asked, more, int(more))


@pytest.mark.parametrize(
    ("change", "reason", "failed"),
    [
        ("UPDATE payments SET status = 'COMPLETED'", "already_settled", 0),
        ('UPDATE payments SET "amountCents" = 1', "wrong_amount", 1),
        ("DELETE FROM payments", "gone", 1),
    ],
)
def test_a_payment_that_changed_during_the_query_is_not_settled(scheduled, change, reason, failed):
    """If a payment changes during the query, it is skipped, and counts as failed unless a callback settled it."""
    scheduled.insert("one")
    scheduled.before_answer = lambda _: scheduled.execute(change)
    report = scheduled.run()
    assert [(one.outcome, one.reason) for one in report.done.values()] == [("skipped", reason)]
    assert (report.failed, report.counts["skipped"], report.for_a_person) == (failed, 1, [])


def test_a_locked_payment_is_left_to_the_next_run(scheduled):
    """If another session has locked a payment for three seconds, the payment is skipped and counts as failed."""
    payment = scheduled.insert("one")
    with scheduled.engine.connect() as holder, holder.begin():
        holder.execute(text("SELECT id FROM payments FOR UPDATE"))
        report = scheduled.run()
    assert [(one.outcome, one.reason) for one in report.done.values()] == [("skipped", "locked")]
    assert (report.failed, scheduled.status(payment)) == (1, "PENDING")
    assert scheduled.run().counts["settled"] == 1


def test_the_record_of_a_run_counts_settled_and_skipped_payments(scheduled):
    """The record of a reconcile run counts settled and skipped payments, but no payment with a wrong amount."""
    scheduled.insert("old", age=2 * HOUR)
    scheduled.insert("young")
    scheduled.insert("wrong amount")
    scheduled.gateways.amounts["wrong amount"] = 1
    completed = "UPDATE payments SET status = 'COMPLETED' WHERE \"providerTransactionId\" = 'young'"
    scheduled.before_answer = lambda _: scheduled.execute(completed)
    assert scheduled.recorded(scheduled.run()) == {"matched": 2, "settled": 1, "skipped": 1}


def test_late_money_needs_manual_review(scheduled):
    """If a payment fails during the query even though the customer paid, the report lists it for the operator."""
    payment = scheduled.insert("one")
    scheduled.insert("other", "failed")
    failed = "UPDATE payments SET status = 'FAILED' WHERE \"providerTransactionId\" = 'one'"
    scheduled.before_answer = lambda _: scheduled.execute(failed)
    report = scheduled.run()
    assert [finding.payment.id for finding in report.for_a_person] == [payment.id]
    assert (scheduled.status(payment), report.failed) == ("COMPLETED", 0)


@pytest.mark.parametrize("state", ["refunded", "odd"])
def test_an_answer_that_payctl_has_no_rule_for_needs_manual_review(scheduled, state):
    """If the gateway reports a refund or an unknown state, the payment stays PENDING and is listed for the operator."""
    payment = scheduled.insert("one", state)
    report = scheduled.run()
    assert [finding.payment.id for finding in report.for_a_person] == [payment.id]
    assert (report.counts["settled"], report.run_id, scheduled.status(payment)) == (0, None, "PENDING")


def test_a_gateway_that_does_not_answer_is_asked_twice(scheduled):
    """If a gateway does not answer, the scheduled reconcile repeats its query about a payment once."""
    silent, unknown = scheduled.insert("one"), scheduled.insert("two", gateway="payos")

    def refuse(_):
        message = "no response"
        raise UnavailableError(message)

    scheduled.before_answer = refuse
    report = scheduled.run()
    assert len(scheduled.waits) == 2
    assert report.unanswered == len(report.without_answer) == 2
    assert {finding.payment.id for finding in report.without_answer} == {silent.id, unknown.id}


def test_a_gateway_is_skipped_after_three_payments_without_an_answer(scheduled):
    """If a gateway does not answer about three payments, the scheduled reconcile stops querying that gateway."""

    def refuse(_):
        message = "no response"
        raise UnavailableError(message)

    for name in "abcde":
        scheduled.insert(name)
    scheduled.before_answer = refuse
    report = scheduled.run(attempts=1)
    assert (len(scheduled.waits), report.unanswered) == (3, 5)


def test_an_answer_resets_the_count_of_payments_without_an_answer(scheduled):
    """Each answer from a gateway resets the gateway's count of payments without an answer."""

    def refuse(reference):
        if reference != "c":
            message = "no response"
            raise UnavailableError(message)

    for place, name in enumerate("abcde"):
        scheduled.insert(name, age=timedelta(hours=10 - place))
    scheduled.before_answer = refuse
    report = scheduled.run(attempts=1)
    assert (len(scheduled.waits), report.unanswered, report.counts["settled"]) == (5, 4, 1)


def test_by_default_a_command_asks_three_times_and_five_times_a_second():
    """By default, the `reconcile payments` command tries a query three times, and the scheduled run twice.

    The default rate of the queries is five a second.
    """
    command, scheduled = AskOptions(), UnattendedOptions(1, HOUR)
    assert (command.rate, command.attempts, scheduled.rate, scheduled.attempts) == (5, 3, 5, 2)


def test_queries_take_at_most_two_thirds_of_the_time(scheduled):
    """In the scheduled reconcile, a query's time limit is over half, and at most two thirds, of the job's time."""
    scheduled.insert("one")
    scheduled.run(budget=timedelta(seconds=60), timeout=HOUR)
    (wait,) = scheduled.waits
    assert timedelta(seconds=31) < wait <= timedelta(seconds=40)


def test_no_payment_is_settled_after_the_time_limit(scheduled):
    """If no time is left, the scheduled reconcile does not query or settle any payment."""
    payment = scheduled.insert("one")
    report = scheduled.run(budget=timedelta())
    assert (report.counts["not_asked"], report.unanswered, scheduled.status(payment)) == (1, 1, "PENDING")


def test_the_payments_after_the_time_limit_are_left_to_the_next_run(scheduled, monkeypatch):
    """If the time limit is reached while payments are settled, the run settles no other payment."""
    for name in "abc":
        scheduled.insert(name)
    times = iter((0, 59, 61))  # the start, and the times after the first and the second payment
    monkeypatch.setattr(job, "time", SimpleNamespace(monotonic=lambda: next(times)))
    report = scheduled.run(budget=timedelta(minutes=1))
    assert (report.counts["settled"], report.failed) == (2, 1)
    assert scheduled.recorded(report) == {"matched": 3, "settled": 2, "skipped": 0}
