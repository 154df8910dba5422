"""Test the search for a callback's payment, and that a wrong gateway, amount or status settles nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.stand_ins import WITHOUT_ORDER_CODES, reference_of
from ticketbottle_payctl.jobs.process_webhook import Alert, WebhookOutcome
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

ORDER = "TB-ROCK-20261123-7K2M9QXA"


def called(payment, **changes):
    """Return a callback about the payment in which the given values are changed."""
    known = {name: getattr(payment, name) for name in ("id", "order_code", "amount", "provider", "reference")}
    return callback(SandboxPayment(**known | changes))


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_a_payment_is_found_by_its_reference(shop, provider):
    """`payctl` finds a payment by the reference in the callback."""
    payment = shop.payment(provider, reference=f"261123_{provider.upper()}-REF")
    shop.payment(provider)
    assert shop.process(payment).payment_id == payment.id


@pytest.mark.parametrize("provider", sorted(GATEWAYS.keys() - WITHOUT_ORDER_CODES))
def test_a_payment_without_a_matching_reference_is_found_by_its_order_code(shop, provider):
    """If no payment has the callback's reference, payctl searches by order code and keeps the stored reference."""
    payment = shop.payment(provider, order_code=ORDER, reference="created-with-another")
    report = shop.process(called(payment, reference=reference_of(provider, ORDER)))
    assert (report.payment_id, report.outcome) == (payment.id, WebhookOutcome.SETTLED)
    assert shop.row(payment)["providerTransactionId"] == "created-with-another"
    assert report.event.payload["transaction_id"] == "created-with-another"
    assert shop.receipts()[0]["reference"] != "created-with-another"


def test_the_reference_counts_more_than_the_order_code(shop):
    """If the reference and the order code match different payments, payctl settles the payment with the reference."""
    by_order = shop.payment("vnpay", order_code=ORDER, reference="something else")
    by_reference = shop.payment("vnpay", order_code="TB-OTHER", reference=ORDER)
    report = shop.process(by_reference)
    assert report.payment_id == by_reference.id
    assert shop.row(by_order)["status"] == "PENDING"


def test_the_order_code_decides_between_payments_with_one_reference(shop):
    """If several payments have the callback's reference, payctl settles the one with the callback's order code."""
    wanted = shop.payment("zalopay", order_code=ORDER, reference=f"261123_{ORDER}", age=timedelta(days=1))
    shop.payment("zalopay", reference=f"261123_{ORDER}")
    assert shop.process(wanted).payment_id == wanted.id


def test_the_newest_payment_with_a_reference_is_settled_if_no_order_code_matches(shop):
    """If several payments have the callback's reference and none has its order code, payctl settles the newest one."""
    old, newest = [shop.payment("payos", reference="one-link", age=timedelta(hours=age)) for age in (2, 1)]
    other_gateway = shop.payment("momo", reference="one-link")
    reports = [shop.process(newest) for _ in range(3)]
    assert {report.payment_id for report in reports} == {newest.id}
    assert [report.outcome.value for report in reports] == ["settled", "already_settled", "already_settled"]
    assert {shop.row(payment)["status"] for payment in (old, other_gateway)} == {"PENDING"}
    assert len(shop.events()) == 1


@pytest.mark.parametrize("spelling", ["ZALOPAY", "ZaloPay", "zalopay", "ZALO_PAY", "zalo-pay"])
def test_the_spelling_of_a_payment_s_provider_does_not_matter(shop, spelling):
    """`payctl` recognises every spelling of a gateway's name in the provider column."""
    payment = shop.payment("zalopay")
    shop.query("UPDATE payments SET provider = %s WHERE id = %s RETURNING id", spelling, payment.id)
    report = shop.process(payment)
    assert (report.status_after, report.event.payload["provider"]) == ("COMPLETED", spelling)


def test_a_payment_of_another_gateway_is_not_settled(shop):
    """If a MoMo callback is for a VNPay payment, payctl refuses it and raises an alert."""
    payment = shop.payment("vnpay")
    report = shop.process(called(payment, provider="momo"))
    assert (report.outcome, report.reason) == (WebhookOutcome.REFUSED, "other_provider")
    assert (report.alert, report.reply.status) == (Alert.UNKNOWN_ORDER, 204)
    assert (shop.row(payment)["status"], shop.events()) == ("PENDING", [])


def test_a_payment_with_an_unknown_status_is_not_settled(shop):
    """If a payment has an unknown status, a callback does not settle it and raises an alert."""
    shop.query("ALTER TYPE \"PaymentStatus\" ADD VALUE 'REFUNDED'; SELECT 1 AS done")
    payment = shop.payment("vnpay", status="REFUNDED")
    before = shop.row(payment)
    report = shop.process(payment)
    assert (report.outcome, report.reason) == (WebhookOutcome.REFUSED, "unknown_status")
    assert (report.status_before, report.status_after) == ("REFUNDED", "REFUNDED")
    assert (report.alert, report.reply.body) == (
        Alert.UNKNOWN_STATUS,
        '{"RspCode":"02","Message":"Order already confirmed"}',
    )
    assert (shop.row(payment), shop.events()) == (before, [])


@pytest.mark.parametrize("amount", [1, 249_999, 250_001, 25_000_000])
def test_an_amount_that_differs_by_1_vnd_is_refused(shop, amount):
    """`payctl` refuses a callback with a wrong amount, and the payment stays PENDING (contract 6.4)."""
    payment = shop.payment("momo", amount=250_000)
    report = shop.process(called(payment, amount=amount))
    assert (report.reason, shop.row(payment)["status"], shop.events()) == ("wrong_amount", "PENDING", [])
    assert shop.receipts()[0]["amount"] == amount


def test_the_amount_is_checked_before_the_state(shop):
    """If a callback for a settled payment has a wrong amount, payctl reports a wrong amount and not a duplicate."""
    payment = shop.payment("vnpay", status="COMPLETED")
    assert shop.process(payment, Scenario.WRONG_AMOUNT).alert is Alert.WRONG_AMOUNT
