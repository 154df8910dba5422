import json
from dataclasses import replace
from time import perf_counter

import pytest

from ticketbottle_payctl.domain.callback import Callback, IgnoredBecause, Outcome, Rejected, RejectReason


def reason(verdict):
    """Why it was refused, or None."""
    return verdict.reason if isinstance(verdict, Rejected) else None


@pytest.mark.parametrize("absent", ["partner_code", "access_key", "secret_key"])
def test_without_its_keys_the_gateway_is_off(merchant, absent):
    """All three values are needed to verify."""
    assert reason(merchant.verify("momo", merchant.momo(), **{absent: ("",)})) is RejectReason.NOT_CONFIGURED


def test_both_keys_may_be_in_rotation(merchant):
    """The access key is part of the signed text, so old and new are tried in every combination."""
    keys = {"access_key": ("new", "canary-momo-access"), "secret_key": ("new", "canary-momo-secret")}
    assert isinstance(merchant.verify("momo", merchant.momo(), **keys), Callback)


@pytest.mark.parametrize("name", ["amount", "orderId", "resultCode", "transId", "message", "extraData", "responseTime"])
def test_a_missing_signed_field_is_refused(merchant, name):
    """Twelve fields are documented and signed; even an empty one is there."""
    assert reason(merchant.verify("momo", merchant.momo(**{name: ...}))) is RejectReason.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": True},
        {"amount": None},
        {"amount": 0},
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
def test_signed_content_that_is_not_well_formed_is_refused(merchant, changes):
    """A right signature does not make up for a wrong type, a strange order id or an amount that is none."""
    assert reason(merchant.verify("momo", merchant.momo(**changes))) is RejectReason.MALFORMED


def test_null_in_a_descriptive_field_is_an_empty_text(merchant):
    """Nothing is decided by it, so null and "" are one."""
    text = merchant.momo_text(merchant.momo_body)
    assert isinstance(merchant.verify("momo", merchant.momo(text, extraData=None)), Callback)


@pytest.mark.parametrize("signed", ["450000", "450000.0"])
def test_a_whole_amount_with_a_fraction_is_whole(merchant, signed):
    """450000.0 is accepted, whether MoMo signs it as a whole number or as it is spelled."""
    text = merchant.momo_text({**merchant.momo_body, "amount": signed})
    assert merchant.verify("momo", merchant.momo(text, amount=450000.0)).amount == 450000


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, Outcome.COMPLETED)]
    + [(code, Outcome.CANCELLED) for code in (1003, 1005, 1006, 1017)]
    + [(code, Outcome.IGNORED) for code in (1000, 7000, 7002, 8000, 9000)]
    + [(code, Outcome.FAILED) for code in (1001, 1002, 1004, 1007, 1026, 4001, 4002, 4100, 98, 99, 42, 31337, -1)],
)
def test_the_result_code_decides(merchant, code, outcome):
    """0 is paid, four codes are cancellations, five are not final, everything else failed."""
    verdict = merchant.verify("momo", merchant.momo(resultCode=code))
    assert verdict.outcome is outcome
    assert verdict.ignored_because is (IgnoredBecause.PENDING if outcome is Outcome.IGNORED else None)


@pytest.mark.parametrize("partner", ["OTHER", "tbmomo", ""])
def test_a_callback_for_another_merchant_is_refused(merchant, partner):
    """The signature holds, but partnerCode is not the configured one."""
    assert reason(merchant.verify("momo", merchant.momo(partnerCode=partner))) is RejectReason.OTHER_MERCHANT


def test_one_signature_does_not_pay_two_orders(merchant):
    """Values are not escaped, so who words orderInfo could move the border between fields; that is refused."""
    worded = "x&orderId=VICTIM-2&orderInfo=y"
    genuine = merchant.momo(orderInfo=worded)
    assert merchant.verify("momo", genuine).order_ref == "TB-ROCK-20261205-7K2M9QXA"
    body = json.loads(genuine.body)
    moved = {
        **body,
        "message": "Successful.&orderId=TB-ROCK-20261205-7K2M9QXA&orderInfo=x",
        "orderId": "VICTIM-2",
        "orderInfo": "y",
    }
    assert merchant.momo_text(moved) == merchant.momo_text(body)
    assert reason(merchant.verify("momo", replace(genuine, body=json.dumps(moved).encode()))) is RejectReason.MALFORMED


def test_a_long_order_id_costs_no_time(merchant):
    """The documented pattern would backtrack for ever on this one."""
    started = perf_counter()
    assert reason(merchant.verify("momo", merchant.momo(orderId="a" * 60_000 + "!"))) is RejectReason.MALFORMED
    assert perf_counter() - started < 1
