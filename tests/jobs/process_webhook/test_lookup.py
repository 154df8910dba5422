from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.jobs.process_webhook import Alert, WebhookOutcome
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

ORDER = "TB-ROCK-20261123-7K2M9QXA"


def called(payment, **changes):
    """Return a callback in which these values of the payment are changed."""
    known = {name: getattr(payment, name) for name in ("id", "order_code", "amount", "provider", "reference")}
    return callback(SandboxPayment(**known | changes))


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_a_payment_is_found_by_its_reference(shop, provider):
    """`payctl` finds a payment by its reference."""
    payment = shop.payment(provider, reference=f"261123_{provider.upper()}-REF")
    shop.payment(provider)
    assert shop.process(payment).payment_id == payment.id


@pytest.mark.parametrize("provider", ["zalopay", "vnpay", "momo"])
def test_a_payment_without_a_matching_reference_is_found_by_its_order_code(shop, provider):
    """If no payment has the reference, payctl finds the payment by its order code and keeps the stored reference."""
    payment = shop.payment(provider, order_code=ORDER, reference="created-with-another")
    report = shop.process(called(payment, reference=f"261123_{ORDER}" if provider == "zalopay" else ORDER))
    assert (report.payment_id, report.outcome) == (payment.id, WebhookOutcome.SETTLED)
    assert shop.row(payment)["providerTransactionId"] == "created-with-another"
    assert report.event.payload["transaction_id"] == "created-with-another"
    assert shop.receipts()[0]["reference"] != "created-with-another"


def test_the_reference_counts_more_than_the_order_code(shop):
    """If reference and order code match different payments, the payment with the reference is settled."""
    by_order = shop.payment("vnpay", order_code=ORDER, reference="something else")
    by_reference = shop.payment("vnpay", order_code="TB-OTHER", reference=ORDER)
    report = shop.process(by_reference)
    assert report.payment_id == by_reference.id
    assert shop.row(by_order)["status"] == "PENDING"


def test_the_order_code_decides_between_payments_with_one_reference(shop):
    """If several payments have the same reference, the order code decides which payment is settled."""
    wanted = shop.payment("zalopay", order_code=ORDER, reference=f"261123_{ORDER}", age=timedelta(days=1))
    shop.payment("zalopay", reference=f"261123_{ORDER}")
    assert shop.process(wanted).payment_id == wanted.id


def test_the_newest_payment_with_a_reference_is_settled_if_no_order_code_matches(shop):
    """If no order code matches, repeated callbacks always settle the newest payment with the reference."""
    old, newest = [shop.payment("payos", reference="one-link", age=timedelta(hours=age)) for age in (2, 1)]
    other_gateway = shop.payment("momo", reference="one-link")
    reports = [shop.process(newest) for _ in range(3)]
    assert {report.payment_id for report in reports} == {newest.id}
    assert [report.outcome.value for report in reports] == ["settled", "already_settled", "already_settled"]
    assert {shop.row(payment)["status"] for payment in (old, other_gateway)} == {"PENDING"}
    assert len(shop.events()) == 1


@pytest.mark.parametrize("spelling", ["ZALOPAY", "ZaloPay", "zalopay", "ZALO_PAY", "zalo-pay"])
def test_the_spelling_of_a_payment_s_provider_does_not_matter(shop, spelling):
    """`payctl` accepts each spelling of a gateway's name in the column provider."""
    payment = shop.payment("zalopay")
    shop.query("UPDATE payments SET provider = %s WHERE id = %s RETURNING id", spelling, payment.id)
    report = shop.process(payment)
    assert (report.status_after, report.event.payload["provider"]) == ("COMPLETED", spelling)


def test_a_payment_of_another_gateway_is_not_settled(shop):
    """A MoMo callback for a VNPay payment is refused with an alert."""
    payment = shop.payment("vnpay")
    report = shop.process(called(payment, provider="momo"))
    assert (report.outcome, report.reason) == (WebhookOutcome.REFUSED, "other_provider")
    assert (report.alert, report.reply.status) == (Alert.UNKNOWN_ORDER, 204)
    assert (shop.row(payment)["status"], shop.events()) == ("PENDING", [])


def test_a_payment_with_an_unknown_status_is_not_settled(shop):
    """A payment with an unknown status is not settled, and an alert is raised."""
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
    """A callback with any other amount is refused, and the payment stays PENDING (contract 6.4)."""
    payment = shop.payment("momo", amount=250_000)
    report = shop.process(called(payment, amount=amount))
    assert (report.reason, shop.row(payment)["status"], shop.events()) == ("wrong_amount", "PENDING", [])
    assert shop.receipts()[0]["amount"] == amount


def test_the_amount_is_checked_before_the_state(shop):
    """For a settled payment, a callback with another amount is not a duplicate but a wrong amount."""
    payment = shop.payment("vnpay", status="COMPLETED")
    assert shop.process(payment, Scenario.WRONG_AMOUNT).alert is Alert.WRONG_AMOUNT
