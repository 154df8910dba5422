"""Test that payctl verifies MoMo's notifications, and interprets their fields and result codes."""

import json
from dataclasses import replace
from time import perf_counter

import pytest

from ticketbottle_payctl.domain.callback import (
    Callback,
    IgnoredBecause,
    Outcome,
    Rejected,
    RejectReason,
    Unclear,
    UnclearReason,
)


def reason(verdict):
    """Return why a callback was not accepted, or None if it was accepted."""
    return verdict.reason if isinstance(verdict, Rejected | Unclear) else None


@pytest.mark.parametrize("absent", ["partner_code", "access_key", "secret_key"])
def test_momo_without_its_keys_is_not_configured(merchant, absent):
    """MoMo is not configured if one of its three values is missing."""
    assert reason(merchant.verify("momo", merchant.momo(), **{absent: ("",)})) is RejectReason.NOT_CONFIGURED


def test_momo_accepts_any_combination_of_rotating_keys(merchant):
    """MoMo's signed string contains the access key, so payctl tries each access key with each secret key."""
    keys = {"access_key": ("new", "canary-momo-access"), "secret_key": ("new", "canary-momo-secret")}
    assert isinstance(merchant.verify("momo", merchant.momo(), **keys), Callback)


@pytest.mark.parametrize("name", ["amount", "orderId", "resultCode", "transId", "message", "extraData", "responseTime"])
def test_a_momo_callback_without_a_signed_field_is_unreadable(merchant, name):
    """A genuine MoMo callback that lacks one of the twelve signed fields is unreadable and settles nothing."""
    assert reason(merchant.verify("momo", merchant.momo(**{name: ...}))) is UnclearReason.UNREADABLE


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": True},
        {"amount": None},
        {"amount": -1},
        {"amount": 450000.5},
        {"amount": "450000 "},
        {"amount": "0x6ddd0"},
        {"amount": [450000]},
        {"transId": -1},
        {"transId": "abc"},
        {"transId": None},
        {"resultCode": "00"},
        {"resultCode": False},
        {"resultCode": ""},
        {"resultCode": {}},
        {"orderId": ""},
        {"orderId": 5},
        {"orderId": "a&amount=1"},
        {"orderId": "TB ROCK"},
        {"orderId": "-TB"},
        {"orderId": "TB-"},
        {"orderId": "TB\n"},
        {"orderId": "Vé"},
        {"message": ["x"]},
        {"orderInfo": {"a": 1}},
        {"extraData": True},
    ],
)
def test_a_signed_momo_callback_with_a_wrong_value_is_unreadable(merchant, changes):
    """A signed MoMo callback with a wrong type, an invalid order id or an invalid amount is unreadable."""
    assert reason(merchant.verify("momo", merchant.momo(**changes))) is UnclearReason.UNREADABLE


def test_null_in_a_descriptive_momo_field_is_an_empty_text(merchant):
    """MoMo signs null as an empty string. payctl accepts null only in a field that does not decide the result."""
    text = merchant.momo_text(merchant.momo_body)
    assert isinstance(merchant.verify("momo", merchant.momo(text, extraData=None)), Callback)


@pytest.mark.parametrize("signed", ["450000", "450000.0"])
def test_a_momo_amount_with_a_zero_fraction_is_accepted(merchant, signed):
    """A MoMo amount of 450000.0 is accepted, whether MoMo signs it as 450000 or as 450000.0."""
    text = merchant.momo_text({**merchant.momo_body, "amount": signed})
    assert merchant.verify("momo", merchant.momo(text, amount=450000.0)).amount == 450000


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, Outcome.COMPLETED)]
    + [(code, Outcome.CANCELLED) for code in (1003, 1005, 1006, 1017)]
    + [(code, Outcome.FAILED) for code in (98, 99, 1001, 1002, 1004, 1007, 1026, 2019, 4001, 4002, 4100)],
)
def test_a_documented_final_momo_code_decides_the_outcome(merchant, code, outcome):
    """For MoMo, code 0 means paid, four codes mean cancelled, and eleven codes mean a final failure."""
    verdict = merchant.verify("momo", merchant.momo(resultCode=code))
    assert (verdict.outcome, verdict.ignored_because) == (outcome, None)


@pytest.mark.parametrize(
    ("code", "because"),
    [(code, IgnoredBecause.PENDING) for code in (1000, 7000, 7002, 8000, 9000)]
    + [(code, IgnoredBecause.PENDING) for code in (10, 11, 12, 13, 20, 21, 22, 40, 41, 42, 43, 45, 47)]
    + [(code, IgnoredBecause.REFUND) for code in (1080, 1081, 1088)]
    + [(code, IgnoredBecause.UNDOCUMENTED) for code in (1, 9, 44, 1008, 31337, -1)],
)
def test_a_momo_code_that_is_not_final_settles_nothing(merchant, code, because):
    """Only a documented final MoMo code settles a payment as FAILED, because a failure releases the tickets."""
    verdict = merchant.verify("momo", merchant.momo(resultCode=code))
    assert (verdict.outcome, verdict.ignored_because) == (Outcome.IGNORED, because)


def test_a_momo_wallet_agreement_is_ignored(merchant):
    """A MoMo notification that links a wallet has the amount 0. payctl acknowledges and ignores this notification."""
    verdict = merchant.verify("momo", merchant.momo(amount=0, resultCode=9000))
    assert (verdict.outcome, verdict.ignored_because) == (Outcome.IGNORED, IgnoredBecause.AGREEMENT)
    assert verdict.amount is None


@pytest.mark.parametrize("order_type", ["", None])
def test_a_momo_amount_of_0_without_an_order_type_is_unreadable(merchant, order_type):
    """MoMo signs null and an empty string in the same way, so payctl does not distinguish the two values.

    Neither value marks an agreement.
    """
    verdict = merchant.verify("momo", merchant.momo(amount=0, orderType=order_type))
    assert reason(verdict) is UnclearReason.UNREADABLE


@pytest.mark.parametrize("partner", ["OTHER", "tbmomo", ""])
def test_a_momo_callback_for_another_merchant_is_refused(merchant, partner):
    """A MoMo callback for another partnerCode is refused, even if its signature is valid."""
    assert reason(merchant.verify("momo", merchant.momo(partnerCode=partner))) is RejectReason.OTHER_MERCHANT


def test_one_momo_signature_does_not_pay_two_orders(merchant):
    """MoMo does not escape values, so orderInfo can be read as a second order. Neither reading settles a payment."""
    worded = "x&orderId=VICTIM-2&orderInfo=y"
    genuine = merchant.momo(orderInfo=worded)
    assert reason(merchant.verify("momo", genuine)) is UnclearReason.AMBIGUOUS
    body = json.loads(genuine.body)
    moved = {
        **body,
        "message": "Successful.&orderId=TB-ROCK-20261205-7K2M9QXA&orderInfo=x",
        "orderId": "VICTIM-2",
        "orderInfo": "y",
    }
    assert merchant.momo_text(moved) == merchant.momo_text(body)
    assert reason(merchant.verify("momo", replace(genuine, body=json.dumps(moved).encode()))) is UnclearReason.AMBIGUOUS


def test_a_long_momo_order_id_is_checked_quickly(merchant):
    """A long MoMo order id is checked quickly, even though the documented pattern would backtrack endlessly on it."""
    started = perf_counter()
    assert reason(merchant.verify("momo", merchant.momo(orderId="a" * 60_000 + "!"))) is UnclearReason.UNREADABLE
    assert perf_counter() - started < 1
