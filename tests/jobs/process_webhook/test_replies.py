"""Test the reply that a gateway gets for each result of a callback, and the results that raise an alert."""

from __future__ import annotations

import time

import pytest

from tests.providers.conftest import SIGNING_VARIABLES
from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.process_webhook import Alert, WebhookOutcome
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment, scenarios
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

ZALOPAY_DONE = (200, '{"return_code":1,"return_message":"success"}')
PAYOS_DONE = (200, '{"success":true}')
MOMO_DONE = (204, "")
WORDS = {
    "zalopay": {
        "done": ZALOPAY_DONE,
        "duplicate": ZALOPAY_DONE,
        "unknown_order": (200, '{"return_code":-1,"return_message":"order not found"}'),
        "wrong_amount": (200, '{"return_code":-1,"return_message":"invalid amount"}'),
        "bad_signature": (200, '{"return_code":-1,"return_message":"mac not equal"}'),
        "not_configured": (200, '{"return_code":0,"return_message":"not configured"}'),
        "try_again": (200, '{"return_code":0,"return_message":"try again"}'),
        "agreement": ZALOPAY_DONE,
    },
    "payos": {
        "done": PAYOS_DONE,
        "duplicate": PAYOS_DONE,
        "unknown_order": PAYOS_DONE,
        "wrong_amount": PAYOS_DONE,
        "bad_signature": (400, '{"success":false,"message":"invalid signature"}'),
        "not_configured": (503, '{"success":false,"message":"not configured"}'),
        "try_again": (500, '{"success":false,"message":"try again"}'),
        "ping": PAYOS_DONE,
    },
    "vnpay": {
        "done": (200, '{"RspCode":"00","Message":"Confirm Success"}'),
        "duplicate": (200, '{"RspCode":"02","Message":"Order already confirmed"}'),
        "unknown_order": (200, '{"RspCode":"01","Message":"Order not found"}'),
        "wrong_amount": (200, '{"RspCode":"04","Message":"Invalid amount"}'),
        "bad_signature": (200, '{"RspCode":"97","Message":"Invalid signature"}'),
        "not_configured": (200, '{"RspCode":"99","Message":"Not configured"}'),
        "try_again": (200, '{"RspCode":"99","Message":"Try again"}'),
        "held": (200, '{"RspCode":"00","Message":"Confirm Success"}'),
    },
    "momo": {
        "done": MOMO_DONE,
        "duplicate": MOMO_DONE,
        "unknown_order": MOMO_DONE,
        "wrong_amount": MOMO_DONE,
        "bad_signature": (400, '{"message":"invalid signature"}'),
        "not_configured": (503, '{"message":"not configured"}'),
        "try_again": (500, '{"message":"try again"}'),
        "pending": MOMO_DONE,
    },
}
EVERY_GATEWAY = pytest.mark.parametrize("provider", list(GATEWAYS))
OUTCOMES = (Scenario.FAILED, Scenario.CANCELLED, Scenario.EXPIRED)
FAILURES = [(name, scenario) for name in GATEWAYS for scenario in scenarios(name) if scenario in OUTCOMES]
IGNORED = [
    ("zalopay", Scenario.AGREEMENT, WebhookOutcome.IGNORED, None),
    ("vnpay", Scenario.HELD, WebhookOutcome.IGNORED, Alert.MONEY_HELD),
    ("momo", Scenario.PENDING, WebhookOutcome.IGNORED, None),
]
NUMBERS = {
    "zalopay": "data.zp_trans_id",
    "payos": "data.reference",
    "vnpay": "vnp_TransactionNo",
    "momo": "transId",
}
"""The field that contains the gateway's transfer id, keyed by gateway."""


def said(report):
    """Return the reply's status and body."""
    return report.reply.status, report.reply.body


@EVERY_GATEWAY
def test_a_repeated_callback_gets_the_gateway_s_duplicate_reply(shop, provider):
    """`payctl` answers a first callback with the gateway's "done" reply, and a repeated one with "duplicate"."""
    payment = shop.payment(provider)
    first, second = shop.process(payment), shop.process(payment)
    assert (first.outcome, said(first)) == (WebhookOutcome.SETTLED, WORDS[provider]["done"])
    assert (second.outcome, said(second)) == (WebhookOutcome.ALREADY_SETTLED, WORDS[provider]["duplicate"])
    assert (first.status_before, first.status_after) == ("PENDING", "COMPLETED")
    assert (second.status_before, second.status_after) == ("COMPLETED", "COMPLETED")
    assert (first.alert, second.alert, second.event) == (None, None, None)


@EVERY_GATEWAY
def test_a_second_transfer_for_a_paid_payment_raises_an_alert(shop, provider):
    """A second transfer for a completed payment raises an alert, but a repeated callback does not."""
    payment = shop.payment(provider)
    shop.process(payment)
    assert shop.process(payment).alert is None
    other = alter(callback(payment), provider, [(NUMBERS[provider], "987654321")], environment())
    before = shop.tables()
    report = shop.process(other)
    assert (report.outcome, report.alert) == (WebhookOutcome.ALREADY_SETTLED, Alert.SECOND_PAYMENT)
    assert said(report) == WORDS[provider]["duplicate"]
    after = shop.tables()
    assert (after["payments"], after["outbox"]) == (before["payments"], before["outbox"])


@EVERY_GATEWAY
def test_each_second_payment_alerts_once(shop, provider):
    """Each additional transfer for a payment raises one alert.

    Repeated callbacks about this transfer raise no alert.
    """
    payment = shop.payment(provider)
    first = callback(payment)
    second, third = [alter(first, provider, [(NUMBERS[provider], number)], environment()) for number in ("98765", "4")]
    sent = [first, first, second, first, second, third, first, second, third]
    alerted = [shop.process(request).alert for request in sent]
    twice = Alert.SECOND_PAYMENT
    assert alerted == [None, None, twice, None, None, twice, None, None, None]


@EVERY_GATEWAY
def test_only_money_that_was_accepted_makes_the_next_transfer_a_second_one(shop, provider):
    """A second transfer raises the SECOND_PAYMENT alert only if the first transfer was accepted."""
    payment = shop.payment(provider)
    first = callback(payment, Scenario.WRONG_AMOUNT)
    other = alter(first, provider, [(NUMBERS[provider], "98765")], environment())
    assert [shop.process(request).alert for request in (first, other)] == [Alert.WRONG_AMOUNT] * 2


@pytest.mark.parametrize(("provider", "scenario"), FAILURES)
def test_a_recorded_failure_gets_the_done_reply(shop, provider, scenario):
    """`payctl` answers a callback that reports a failure or a cancellation with the gateway's "done" reply."""
    report = shop.process(shop.payment(provider), scenario)
    assert report.status_after == ("FAILED" if scenario is Scenario.FAILED else "CANCELLED")
    assert said(report) == WORDS[provider]["done"]


@EVERY_GATEWAY
def test_an_unknown_order_gets_the_gateway_s_reply_and_an_alert(shop, provider):
    """A callback for an unknown order gets the reply that the gateway expects, and raises an alert."""
    shop.payment(provider)
    report = shop.process(SandboxPayment("an-id", "TB-X-20261123-1", 250_000, provider, "261123_TB-X-20261123-1"))
    assert (report.outcome, report.reason) == (WebhookOutcome.REFUSED, "unknown_order")
    assert (said(report), report.alert) == (WORDS[provider]["unknown_order"], Alert.UNKNOWN_ORDER)


@EVERY_GATEWAY
def test_a_wrong_amount_gets_the_gateway_s_reply_and_an_alert(shop, provider):
    """For a wrong amount, payctl replies as the gateway expects, raises an alert and settles nothing (contract 6.4)."""
    payment = shop.payment(provider)
    before = shop.tables()
    report = shop.process(payment, Scenario.WRONG_AMOUNT)
    assert (report.outcome, report.reason) == (WebhookOutcome.REFUSED, "wrong_amount")
    assert (said(report), report.alert) == (WORDS[provider]["wrong_amount"], Alert.WRONG_AMOUNT)
    after = shop.tables()
    assert (after["payments"], after["outbox"]) == (before["payments"], before["outbox"])


@EVERY_GATEWAY
def test_a_bad_signature_gets_a_reply_without_the_expected_one(shop, provider, caplog):
    """If a signature is wrong, neither the reply nor the log contains the correct signature (contract 6.5)."""
    payment = shop.payment(provider)
    before = shop.tables()
    report = shop.process(payment, Scenario.BAD_SIGNATURE)
    genuine = callback(payment)
    expected = genuine.query.rpartition("=")[2] if genuine.query else genuine.body.decode()
    macs = [word for word in expected.replace('"', " ").split() if len(word) in {64, 128}]
    assert macs
    assert (report.outcome, said(report)) == (WebhookOutcome.REFUSED, WORDS[provider]["bad_signature"])
    assert not any(mac in f"{report!r}{caplog.text}" for mac in macs)
    assert shop.tables() == before
    assert (report.dry_run, report.database_s, report.unindexed_payments) == (False, None, 0)


def test_the_report_s_time_in_the_database_is_a_part_of_the_call(shop):
    """The database time in a callback's report does not exceed the duration of the whole call."""
    payment = shop.payment("vnpay")
    began = time.monotonic()
    report = shop.process(payment)
    assert 0 < report.database_s <= time.monotonic() - began


@EVERY_GATEWAY
def test_a_gateway_without_keys_replies_not_configured(shop, keys, provider):
    """If a gateway has no keys, its callbacks change nothing, and the other gateways still work."""
    payment = shop.payment(provider)
    before = shop.tables()
    report = shop.process(payment, keys=keys(provider, **{SIGNING_VARIABLES[provider]: None}))
    assert (report.outcome, report.reason) == (WebhookOutcome.REFUSED, "not_configured")
    assert said(report) == WORDS[provider]["not_configured"]
    assert shop.tables() == before
    for other in set(GATEWAYS) - {provider}:
        assert shop.process(shop.payment(other)).outcome is WebhookOutcome.SETTLED


def test_the_payos_registration_ping_gets_200(shop):
    """PayOS's signed test callback gets a reply with status 200 and does not change the payment (contract 6.12)."""
    report = shop.process(shop.payment("payos"), Scenario.PING)
    assert (report.outcome, report.reason) == (WebhookOutcome.TEST_PING, "ping")
    assert (said(report), report.alert) == (WORDS["payos"]["ping"], None)
    assert (shop.events(), [receipt["result"] for receipt in shop.receipts()]) == ([], ["test_ping"])


@pytest.mark.parametrize(("provider", "scenario", "outcome", "alert"), IGNORED)
def test_a_callback_without_a_final_result_is_acknowledged(shop, provider, scenario, outcome, alert):
    """`payctl` acknowledges a callback without a final result and does not change the payment.

    Held money raises an alert.
    """
    payment = shop.payment(provider)
    before = shop.row(payment)
    report = shop.process(payment, scenario)
    assert (report.outcome, report.reason, report.alert) == (outcome, scenario.value, alert)
    assert said(report) == WORDS[provider][scenario.value]
    assert (shop.row(payment), shop.events()) == (before, [])
    assert shop.process(payment, Scenario.PAID).outcome is WebhookOutcome.SETTLED


@EVERY_GATEWAY
def test_an_unreachable_database_raises_and_has_a_retry_reply(shop, provider):
    """If the database is unavailable, the job raises an error, and payctl has a "try again" reply for each gateway."""
    payment = shop.payment(provider)
    nobody = make_engine(DatabaseSettings(Secret("postgresql://nobody:nothing@127.0.0.1:1/payments")))
    with pytest.raises(DatabaseUnavailableError, match="not available") as failure:
        shop.process(payment, engine=nobody)
    assert "nothing" not in f"{failure.value}{failure.value.hint}"
    reply = GATEWAYS[provider].reply(Answer.TRY_AGAIN)
    assert (reply.status, reply.body) == WORDS[provider]["try_again"]
    assert shop.process(payment, Scenario.BAD_SIGNATURE, engine=nobody).reason == "signature"


@EVERY_GATEWAY
def test_every_answer_has_a_reply_at_every_gateway(provider):
    """Each gateway has a reply for each value of Answer. A reply with a body has a content type."""
    for answer in Answer:
        reply = GATEWAYS[provider].reply(answer)
        assert bool(reply.body) == ("content-type" in reply.headers)
