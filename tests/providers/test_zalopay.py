"""Test that payctl verifies ZaloPay's callbacks, and interprets only the data that ZaloPay signed."""

import json

import pytest

from ticketbottle_payctl.domain.callback import (
    Callback,
    IgnoredBecause,
    Outcome,
    Rejected,
    RejectReason,
    Request,
    Unclear,
    UnclearReason,
)


def reason(verdict):
    """Return why a callback was not accepted, or None if it was accepted."""
    return verdict.reason if isinstance(verdict, Rejected | Unclear) else None


@pytest.mark.parametrize("absent", ["app_id", "key2"])
@pytest.mark.parametrize("value", [(), ("",)])
def test_zalopay_without_its_keys_is_not_configured(merchant, absent, value):
    """ZaloPay is not configured if app_id or key2 is missing or empty."""
    assert reason(merchant.verify("zalopay", merchant.zalopay(), **{absent: value})) is RejectReason.NOT_CONFIGURED


def test_zalopay_verification_does_not_need_key1(merchant):
    """ZaloPay verification does not need key1, which signs the merchant's own requests."""
    assert isinstance(merchant.verify("zalopay", merchant.zalopay(), key1=()), Callback)


def test_zalopay_accepts_any_combination_of_rotating_values(merchant):
    """During a rotation, ZaloPay's app_id and key2 have two values each. Each combination is accepted."""
    keys = {"app_id": ("1", "2900"), "key2": ("x", "canary-zalopay-key-2")}
    assert isinstance(merchant.verify("zalopay", merchant.zalopay(), **keys), Callback)


def test_the_zalopay_reference_keeps_its_date(merchant):
    """A ZaloPay reference keeps its date, because the payment was created with the date and a status query needs it."""
    verdict = merchant.verify("zalopay", merchant.zalopay())
    assert (verdict.reference, verdict.order_ref) == ("261205_TB-ROCK-20261205-7K2M9QXA", "TB-ROCK-20261205-7K2M9QXA")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": "450000"},
        {"amount": True},
        {"amount": None},
        {"amount": 0},
        {"amount": -450000},
        {"amount": 450000.5},
        {"amount": [450000]},
        {"amount": 10**16},
        {"zp_trans_id": None},
        {"zp_trans_id": "abc"},
        {"zp_trans_id": -1},
        {"zp_trans_id": 1.5},
        {"app_trans_id": "261205_TB\n"},
        {"app_trans_id": "261205_TB\x00"},
        {"app_trans_id": 261205},
        {"app_trans_id": None},
        {"amount": None, "zp_trans_id": None},
    ],
)
def test_a_signed_zalopay_callback_with_a_wrong_value_is_unreadable(merchant, changes):
    """A ZaloPay callback with a wrong type, missing value or invalid amount is unreadable, even with a valid MAC."""
    assert reason(merchant.verify("zalopay", merchant.zalopay(**changes))) is UnclearReason.UNREADABLE


@pytest.mark.parametrize("app_id", [2901, "2900", True, None, [2900], 2900.5])
def test_a_zalopay_callback_for_another_application_is_refused(merchant, app_id):
    """A ZaloPay callback for another app_id is refused, even if its MAC is valid."""
    assert reason(merchant.verify("zalopay", merchant.zalopay(app_id=app_id))) is RejectReason.OTHER_MERCHANT


@pytest.mark.parametrize(
    "data",
    ["", "null", "[]", '"x"', "not json", '{"app_id":2900', '{"amount":1,"amount":2}', '{"amount":NaN}', "[" * 9000],
)
def test_signed_zalopay_data_that_is_not_a_json_object_is_unreadable(merchant, data):
    """ZaloPay data that is not a JSON object settles nothing, even if its MAC is valid."""
    assert reason(merchant.verify("zalopay", merchant.zalopay(data=data))) is UnclearReason.UNREADABLE


def test_zalopay_data_with_two_amounts_is_unreadable(merchant):
    """ZaloPay data with two amounts settles nothing, because JSON parsers disagree on which amount applies."""
    text = merchant.dumps(merchant.zalopay_data)
    doubled = text.replace('"amount":450000', '"amount":450000,"amount":1')
    assert reason(merchant.verify("zalopay", merchant.zalopay(data=doubled))) is UnclearReason.UNREADABLE


@pytest.mark.parametrize("mac", ["", 5, ["x"], {}, True, "é", "\ud800"])
def test_a_zalopay_mac_that_is_not_text_is_refused(merchant, mac):
    """A ZaloPay MAC that is missing, a number or a lone surrogate is refused without an exception."""
    body = json.dumps({"data": merchant.dumps(merchant.zalopay_data), "mac": mac, "type": 1}).encode()
    assert reason(merchant.verify("zalopay", Request(body=body))) in {RejectReason.SIGNATURE, RejectReason.MALFORMED}


def test_white_space_around_a_zalopay_mac_is_refused(merchant):
    """A ZaloPay MAC with a space or a line break around it is refused."""
    mac = merchant.mac("zalopay", merchant.dumps(merchant.zalopay_data))
    assert reason(merchant.verify("zalopay", merchant.zalopay(mac=f" {mac}"))) is RejectReason.SIGNATURE


@pytest.mark.parametrize(("sent", "text"), [(0, None), (9007199254740993, "9007199254740993"), ("77", "77")])
def test_the_zalopay_transaction_id_keeps_every_digit(merchant, sent, text):
    """A ZaloPay transaction id above 2^53 keeps every digit, whether it is a number or a string.

    The transaction number 0 means that no transaction exists.
    """
    assert merchant.verify("zalopay", merchant.zalopay(zp_trans_id=sent)).gateway_transaction_id == text


@pytest.mark.parametrize("kind", [1, "1", 2, "2", 3, None, True, [], {}])
def test_the_unsigned_zalopay_type_decides_nothing(merchant, kind):
    """ZaloPay's ``type`` does not change the result, because ZaloPay signs only an order's data."""
    verdict = merchant.verify("zalopay", merchant.zalopay(type=kind))
    assert (verdict.outcome, verdict.order_ref) == (Outcome.COMPLETED, "TB-ROCK-20261205-7K2M9QXA")


@pytest.mark.parametrize("reference", ["TB-ROCK", "261205_", "2612O5_TB", "٢٦١٢٠٥_TB", "261129181007242"])
def test_a_zalopay_reference_without_a_date_is_the_order_code(merchant, reference):
    """A ZaloPay app_trans_id without a date, as in ZaloPay's documentation, is used as the order code unchanged."""
    verdict = merchant.verify("zalopay", merchant.zalopay(app_trans_id=reference))
    assert (verdict.reference, verdict.order_ref) == (reference, reference)


@pytest.mark.parametrize("kind", [2, "2", 1, None])
def test_a_zalopay_agreement_is_ignored(merchant, kind):
    """A ZaloPay agreement links a wallet but does not move money, so its callback has no amount or transaction id."""
    verdict = merchant.verify(
        "zalopay", merchant.zalopay(type=kind, amount=None, zp_trans_id=None, binding_id="261205000000017")
    )
    assert (verdict.outcome, verdict.ignored_because) == (Outcome.IGNORED, IgnoredBecause.AGREEMENT)
    assert (verdict.amount, verdict.gateway_transaction_id) == (None, None)
