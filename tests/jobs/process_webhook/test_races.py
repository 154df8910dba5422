"""Test that concurrent callbacks write each event once, and wait only for their own payment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.jobs.process_webhook.test_replies import WORDS
from ticketbottle_payctl.jobs.process_webhook import Alert, WebhookOutcome
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import Scenario

ROUNDS = 12


def at_once(*calls):
    """Start all the calls at the same time. Return their results in the order of the calls."""
    barrier = Barrier(len(calls))

    def run(call):
        barrier.wait(20)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_fifty_identical_callbacks_write_one_event(shop, provider):
    """Of fifty identical callbacks, one writes an event.

    `payctl` accepts all fifty and stores a receipt for each of them (contract 6.1).
    """
    payment = shop.payment(provider)
    reports = at_once(*[lambda: shop.process(payment)] * 50)
    outcomes = [report.outcome for report in reports]
    assert outcomes.count(WebhookOutcome.SETTLED) == 1
    assert outcomes.count(WebhookOutcome.ALREADY_SETTLED) == 49
    assert {report.alert for report in reports} == {None}
    assert len(shop.events(payment)) == 1
    assert len({receipt["id"] for receipt in shop.receipts()}) == 50
    done, duplicate = WORDS[provider]["done"], WORDS[provider]["duplicate"]
    assert {(report.reply.status, report.reply.body) for report in reports} == {done, duplicate}


@pytest.mark.parametrize("provider", ["vnpay", "momo"])
@pytest.mark.parametrize("other", [Scenario.FAILED, Scenario.CANCELLED])
def test_a_concurrent_success_and_failure_end_completed(shop, provider, other):
    """After a concurrent success and failure, the payment is COMPLETED, and its events are in order (contract 6.1)."""
    for _ in range(ROUNDS):
        payment = shop.payment(provider)
        paid, failed = at_once(lambda: shop.process(payment), lambda: shop.process(payment, other))  # noqa: B023
        events = shop.events(payment)
        types = [event["eventType"] for event in events]
        if failed.outcome is WebhookOutcome.SETTLED:
            assert (paid.alert, types[1:]) == (Alert.LATE_MONEY, ["PAYMENT_COMPLETED"])
            assert events[0]["createdAt"] < events[1]["createdAt"]
        else:
            assert (failed.alert, types) == (Alert.CONTRADICTS_COMPLETED, ["PAYMENT_COMPLETED"])
        assert (paid.outcome, shop.row(payment)["status"]) == (WebhookOutcome.SETTLED, "COMPLETED")


def test_different_payments_do_not_wait_for_each_other(shop):
    """A callback does not wait if another payment is locked."""
    held, free = shop.payment("vnpay"), shop.payment("vnpay")
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM payments WHERE id = %s FOR UPDATE", (held.id,))
        assert shop.process(free).outcome is WebhookOutcome.SETTLED


def test_a_foreign_key_lock_on_the_payment_does_not_block_a_callback(shop):
    """A callback does not wait if its payment has a foreign-key lock."""
    payment = shop.payment("vnpay")
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM payments WHERE id = %s FOR KEY SHARE", (payment.id,))
        assert shop.process(payment).outcome is WebhookOutcome.SETTLED
