"""Test that two callbacks with the same signed string are accepted only if they have the same meaning."""

from __future__ import annotations

import json
import re
from itertools import combinations, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.conftest import AMBIGUOUS
from ticketbottle_payctl.domain.callback import Callback, Request, Unclear, UnclearReason
from ticketbottle_payctl.providers import GATEWAYS, credentials, momo, payos
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import callback, environment
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment
from ticketbottle_payctl.secret import Secret

MOST_CUTS = 10
CHOSEN_BY_THE_PAYER = [
    "TB1&orderCode=20261129002",
    "TB1&amount=1",
    "x&code=01&desc=no",
    "x&paymentLinkId=0000",
    "x&currency=USD",
    "&orderCode=5",
    "VQRIO123&z=1",
]


def readings(text):
    """Return each way to split a string into name=value pairs."""
    pieces = text.split("&")
    joints = [place for place in range(1, len(pieces)) if "=" in pieces[place]][:MOST_CUTS]
    for count in range(len(joints) + 1):
        for cuts in combinations(joints, count):
            bounds = [0, *cuts, len(pieces)]
            pairs = ["&".join(pieces[a:b]).partition("=") for a, b in pairwise(bounds)]
            data = {name: value for name, _, value in pairs}
            if len(data) == len(pairs) and payos.signed_text(data) == text:
                yield data


def body(data, signature):
    """Return a webhook with this data."""
    return Request(body=json.dumps({"code": "00", "data": data, "signature": signature}).encode())


def accepted(merchant, text, signature):
    """Return the order, reference, amount and outcome of each accepted reading."""
    verdicts = [merchant.verify("payos", body(data, signature)) for data in readings(text)]
    return {(one.order_ref, one.reference, one.amount, one.outcome) for one in verdicts if isinstance(one, Callback)}


@pytest.mark.parametrize("description", CHOSEN_BY_THE_PAYER)
def test_a_description_cannot_become_another_order(merchant, description):
    """PayOS does not escape the payer's description.

    Nevertheless, at most one reading of a callback settles a payment.
    """
    genuine = merchant.payos(description=description)
    envelope = json.loads(genuine.body)
    assert len(accepted(merchant, payos.signed_text(envelope["data"]), envelope["signature"])) <= 1


@pytest.mark.parametrize("description", CHOSEN_BY_THE_PAYER[:5])
def test_an_ambiguous_callback_is_unclear_and_not_a_forgery(merchant, description):
    """An ambiguous callback is genuine, so it is refused as AMBIGUOUS and not as a forgery."""
    verdict = merchant.verify("payos", merchant.payos(description=description))
    assert isinstance(verdict, Unclear)
    assert verdict.reason is UnclearReason.AMBIGUOUS


@pytest.mark.parametrize(
    ("gateway", "change"), [(gateway, change) for gateway, change in AMBIGUOUS.items() if change is not None]
)
def test_a_signed_string_with_two_meanings_settles_nothing(gateway, change):
    """If a gateway does not escape the values that it signs, a callback with two meanings is AMBIGUOUS."""
    keys = environment()
    genuine = callback(SandboxPayment("an-id", "TB-1", 250_000, gateway, "261123_TB-1"), environ=keys)
    own = credentials(GATEWAYS[gateway], lambda name: (Secret(keys[name]),) if name in keys else ())
    assert isinstance(GATEWAYS[gateway].verify(genuine, own), Callback)
    verdict = GATEWAYS[gateway].verify(alter(genuine, gateway, [change], keys), own)
    assert isinstance(verdict, Unclear)
    assert verdict.reason is UnclearReason.AMBIGUOUS


def test_an_ampersand_in_a_harmless_field_is_accepted(merchant):
    """A bank's name can contain "&", because the name cannot be read as a field that decides the result."""
    verdict = merchant.verify("payos", merchant.payos(counterAccountBankName="A & B=C"))
    assert isinstance(verdict, Callback)


pieces = st.sampled_from(
    ["&", "=", "1", "00", "x", "&orderCode=7", "&amount=5", "&code=01", "&paymentLinkId=l", "&desc=", "&z=", "VQRIO123"]
)


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(description=st.lists(pieces, max_size=5).map("".join), name=st.lists(pieces, max_size=4).map("".join))
def test_accepted_readings_of_one_signed_text_agree(merchant, description, name):
    """All accepted readings of a PayOS string have the same order, amount and outcome.

    The text of two fields is random.
    """
    genuine = merchant.payos(description=description, counterAccountName=name)
    envelope = json.loads(genuine.body)
    assert len(accepted(merchant, payos.signed_text(envelope["data"]), envelope["signature"])) <= 1


def momo_readings(text, signature):
    """Yield each notification that can have this signed string. The field names and their order are fixed."""
    starts = [[found.end() for found in re.finditer(f"(?:^|&){name}=", text)] for name in momo.SIGNED]

    def values(number, begin):
        if number + 1 == len(starts):
            yield [text[begin:]]
            return
        name = f"&{momo.SIGNED[number + 1]}="
        for after in starts[number + 1]:
            if after - len(name) >= begin:
                yield from ([text[begin : after - len(name)], *rest] for rest in values(number + 1, after))

    for begin in starts[0][:1]:
        for found in values(0, begin):
            fields = dict(zip(momo.SIGNED, found, strict=True))
            yield Request(body=json.dumps({**fields, "signature": signature}).encode())


momo_pieces = st.sampled_from(
    ["&", "x", "&orderId=TB-2", "&orderId=TB-2&orderInfo=y", "&message=z", "&message=z&orderId=TB-3", "&resultCode=0"]
)
momo_texts = st.lists(momo_pieces, max_size=4).map("".join)


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(order_info=momo_texts, message=momo_texts, extra=momo_texts, pay_type=momo_texts)
def test_accepted_readings_of_one_momo_text_agree(merchant, order_info, message, extra, pay_type):
    """All accepted readings of a MoMo string agree, whatever text the string contains in its four free-text fields."""
    free = {"orderInfo": order_info, "message": message, "extraData": extra, "payType": pay_type}
    genuine = json.loads(merchant.momo(**free).body)
    text = momo.pairs_text(genuine)
    requests = list(momo_readings(text, genuine["signature"]))
    assert requests
    verdicts = [merchant.verify("momo", one) for one in requests]
    found = {(one.order_ref, one.amount, one.outcome) for one in verdicts if isinstance(one, Callback)}
    assert len(found) <= 1
    assert {type(one) for one in verdicts} <= {Callback, Unclear}
