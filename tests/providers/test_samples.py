"""Test that each built-in sample is genuine with its own keys, and that a tampered one is refused."""

import re

import pytest

from ticketbottle_payctl.domain.callback import Callback, Outcome, Rejected, RejectReason
from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.samples import sample, samples, tamper

SAMPLES = samples()
FIELDS = {
    "zalopay": "amount app_trans_id app_user zp_trans_id",
    "zalopay-docs": "AMOUNT item",
    "payos": "amount orderCode paymentLinkId description code",
    "payos-sdk": "amount counterAccountName",
    "vnpay": "amount vnp_Amount TxnRef ResponseCode OrderInfo",
    "momo": "amount orderId resultCode extraData",
    "momo-declined": "resultCode",
}
MADE_UP = {"vnpay"}
CASES = [(name, field) for name, fields in FIELDS.items() for field in fields.split()]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_genuine_under_its_own_keys(name):
    """Each sample is genuine with its own keys, so a reader without a gateway account can verify the sample."""
    one = SAMPLES[name]
    verdict = GATEWAYS[one.gateway].verify(one.request, one.credentials)
    assert isinstance(verdict, Callback)
    assert verdict.outcome in {Outcome.COMPLETED, Outcome.IGNORED, Outcome.CANCELLED}


def test_every_gateway_has_a_sample_with_its_name():
    """`--example` accepts the name of each gateway.

    The samples in MADE_UP are made up, because these gateways do not publish samples.
    """
    assert set(GATEWAYS) <= set(SAMPLES)
    assert {one.gateway for one in SAMPLES.values() if not one.genuine} == MADE_UP
    assert [name for name in MADE_UP if "Made for this example" not in SAMPLES[name].about] == []
    assert FIELDS.keys() == SAMPLES.keys()


@pytest.mark.parametrize(("name", "field"), CASES)
def test_a_tampered_sample_is_refused_and_names_the_change(name, field):
    """A tampered sample, which has a changed field and the old signature, is refused.

    A sentence names the changed field.
    """
    one = SAMPLES[name]
    tampered = tamper(one, field)
    verdict = GATEWAYS[one.gateway].verify(tampered.request, one.credentials)
    assert isinstance(verdict, Rejected)
    assert verdict.reason in {RejectReason.SIGNATURE, RejectReason.MALFORMED}
    assert "was changed from" in tampered.sentence
    assert field.casefold() in tampered.sentence.casefold()


@pytest.mark.parametrize("name", SAMPLES)
def test_tampering_changes_only_the_given_field(name):
    """If a tampered sample's old value is restored, the sample is genuine again."""
    one = SAMPLES[name]
    tampered = tamper(one, "amount")
    _, _, change = tampered.sentence.partition(" was changed from ")
    before, after = change.removesuffix(" after signing").split(" to ")
    field = re.compile(rf'(amount(?:\\?":|=)){after}', re.IGNORECASE)
    back = type(one.request)(
        query=field.sub(rf"\g<1>{before}", tampered.request.query),
        body=field.sub(rf"\g<1>{before}", tampered.request.body.decode()).encode(),
    )
    assert isinstance(GATEWAYS[one.gateway].verify(back, one.credentials), Callback)


def test_tampering_does_not_escape_the_letters_of_a_sample():
    """The Vietnamese letters in a sample's JSON stay readable, because only the given field changes."""
    tampered = tamper(SAMPLES["momo-declined"], "amount")
    assert '"message":"Giao dịch bị từ chối bởi người dùng."' in tampered.request.body.decode()


def test_the_sentence_about_a_change_has_field_and_both_values():
    """The sentence about a tampered sample names the field, its old value and its new value."""
    assert tamper(sample("vnpay"), "amount").sentence == (
        "vnp_Amount was changed from 45000000 to 45000100 after signing"
    )


def test_the_error_for_an_unknown_sample_or_field_lists_the_known_ones():
    """The error for an unknown example lists the examples, and the error for an unknown field lists the fields."""
    with pytest.raises(NotFoundError) as missing:
        sample("stripe")
    assert "zalopay" in (missing.value.hint or "")
    with pytest.raises(InputError) as field:
        tamper(sample("momo"), "signature")
    assert "orderId" in (field.value.hint or "")
