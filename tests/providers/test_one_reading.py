"""Test that a string that VNPay or ZaloPay signed never leads to two accepted callbacks with different meanings.

The tests verify every request that could have the signed string. ``test_ambiguous_texts`` does the same for PayOS and
MoMo.
"""

from __future__ import annotations

import json
import re
from itertools import product
from urllib.parse import quote, quote_plus, unquote_plus

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.providers.conftest import SIGNED_TEXTS
from ticketbottle_payctl.domain.callback import Callback, Outcome, Request

thorough = settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))

SPELLINGS = {
    "form": lambda text: quote_plus(text, safe="*").replace("~", "%7E"),
    "percent": lambda text: quote(text, safe=""),
    "lower case": lambda text: re.sub("%..", lambda found: found[0].lower(), quote_plus(text, safe="*")),
    "every character": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "nothing": lambda text: text,
}
"""The ways in which a sender can encode a name or a value in the query."""

SIGNS = {
    "form": SPELLINGS["form"],
    "percent": SPELLINGS["percent"],
    "lower case": SPELLINGS["lower case"],
    "php": lambda text: quote_plus(text, safe=""),
}
"""The ways in which VNPay can encode a value in the string that it signs. Each way escapes "&" and "=" in a value."""

HIDDEN = (
    "x&vnp_ResponseCode=00&vnp_TmnCode=TBTEST01&vnp_TransactionNo=7&vnp_TransactionStatus=00&vnp_TxnRef=TB-2&vnp_Z=1"
)
WORDS = [
    "x",
    "",
    " ",
    "+",
    "%",
    "%20",
    "%2B",
    "=",
    "&",
    "*~(é)",
    "x&vnp_ResponseCode=00&vnp_S=1",
    "x&vnp_Amount=100",
    "%26vnp_Amount%3D100",
    "x&vnp_TxnRef=TB-2&vnp_Z=1",
    HIDDEN,
]


def cuts(text):
    """Yield ways to split a string into pairs: at every "&", or at every "&" that is not part of one chosen value."""
    pieces = text.split("&")
    runs = [(0, 0), *((a, b) for a in range(len(pieces)) for b in range(a + 1, len(pieces)))]
    for first, last in runs:
        joined = [*pieces[:first], "&".join(pieces[first : last + 1]), *pieces[last + 1 :]]
        yield [piece.partition("=")[::2] for piece in joined]


def queries(text, mac):
    """Yield each query that could have this signed string, for each way to split, decode and encode the string.

    The queries also vary in their additional parameters.
    """
    around = ["", "&vnp_Empty=", "&vnp_Note", "&utm=vnp_Amount", "&vnp_SecureHashType=MD5"]
    for pairs in cuts(text):
        decoded = [(unquote_plus(name), unquote_plus(value)) for name, value in pairs]
        for meant, spell in product((pairs, decoded), SPELLINGS.values()):
            query = "&".join(f"{spell(name)}={spell(value)}" for name, value in meant)
            yield from (f"{query}{more}&vnp_SecureHash={mac}" for more in around)
            yield f"vnp_SecureHash={mac.upper()}&{'&'.join(reversed(query.split('&')))}"
            yield f"{query}&{query.split('&')[0]}&vnp_SecureHash={mac}"


def vnpay_readings(merchant, text):
    """Return the results of all queries that payctl accepts with this string's signature."""
    mac = merchant.mac("vnpay", text, "sha512")
    verdicts = [merchant.verify("vnpay", Request("GET", query=query)) for query in dict.fromkeys(queries(text, mac))]
    return {verdict for verdict in verdicts if isinstance(verdict, Callback)}


def vnpay_text(merchant, spell, *, empty, **changes):
    """Return the string that VNPay signs for these values."""
    values = {**merchant.vnpay_params, **changes}
    return "&".join(f"{spell(name)}={spell(values[name])}" for name in sorted(values) if values[name] or empty)


@pytest.mark.parametrize("info", WORDS)
@pytest.mark.parametrize("spell", SIGNS)
def test_one_vnpay_text_has_one_reading(merchant, spell, info):
    """Every accepted VNPay query has the signed order, amount and outcome, no matter what the description contains."""
    text = vnpay_text(merchant, SIGNS[spell], empty=False, vnp_OrderInfo=info, vnp_ResponseCode="24")
    (reading,) = vnpay_readings(merchant, text)
    assert (reading.order_ref, reading.amount) == ("TB-ROCK-20261205-7K2M9QXA", 450000)
    assert reading.outcome is Outcome.CANCELLED


@pytest.mark.parametrize("info", WORDS)
def test_an_unescaped_vnpay_text_has_at_most_one_reading(merchant, info):
    """If VNPay signs a string with an unescaped "&" in a value, payctl accepts at most one reading of this string."""
    text = vnpay_text(merchant, SPELLINGS["nothing"], empty=False, vnp_OrderInfo=info, vnp_ResponseCode="24")
    assert len(vnpay_readings(merchant, text)) <= 1


words = st.lists(st.sampled_from(WORDS), max_size=2).map("".join)


@thorough
@given(info=words, bank=words, spell=st.sampled_from([*SIGNS.values(), SPELLINGS["nothing"]]), empty=st.booleans())
@example(info=HIDDEN, bank="", spell=SPELLINGS["nothing"], empty=False)
def test_accepted_readings_of_one_vnpay_text_agree(merchant, info, bank, spell, empty):
    """At most one reading of a signed VNPay string is accepted, whatever text and encoding the string has."""
    text = vnpay_text(merchant, spell, empty=empty, vnp_OrderInfo=info, vnp_BankCode=bank)
    assert len(vnpay_readings(merchant, text)) <= 1


DATA = '"app_id":2900,"app_trans_id":"261205_TB-1","amount":450000,"zp_trans_id":261205000012345'
AGREEMENT = '"app_id":2900,"app_trans_id":"261205_TB-1","binding_id":"7","msg_type":1'
DATA_TEXTS = {
    "an order": f"{{{DATA}}}",
    "an order with blanks": f"  {{ {DATA} }}\n",
    "an agreement": f"{{{AGREEMENT}}}",
    "an order with an agreement's fields": f'{{{DATA},"binding_id":"7","msg_type":1}}',
    "an agreement with an amount of null": f'{{{AGREEMENT},"amount":null,"zp_trans_id":null}}',
    "two amounts": f'{{{DATA},"amount":1}}',
    "two orders": f'{{{DATA},"app_trans_id":"261205_TB-2"}}',
    "the same amount twice": f'{{{DATA},"amount":450000}}',
    "a name spelled with an escape": f'{{{DATA},"am\\u006funt":1}}',
    "an amount as text": f"{{{DATA}}}".replace("450000", '"450000"'),
    "an amount with an exponent": f"{{{DATA}}}".replace("450000", "4.5e5"),
    "an id as text": f"{{{DATA}}}".replace("261205000012345", '"261205000012345"'),
    "an order without its date": f"{{{DATA}}}".replace("261205_", ""),
    "a text in a text": json.dumps(f"{{{DATA}}}"),
    "data inside data": f'{{{DATA},"data":"{{}}","mac":"00","type":2}}',
    "not JSON": "amount=450000&app_trans_id=261205_TB-1",
}
READABLE = {
    "an order": "TB-1",
    "an order with blanks": "TB-1",
    "an agreement": "TB-1",
    "an order with an agreement's fields": "TB-1",
    "an agreement with an amount of null": "TB-1",
    "an amount with an exponent": "TB-1",
    "an id as text": "TB-1",
    "an order without its date": "TB-1",
    "data inside data": "TB-1",
}
OTHER = json.dumps(f"{{{DATA}}}".replace("TB-1", "TB-2"))


def envelopes(text, mac):
    """Yield bodies with this data and its MAC, with each type, extra fields, repeated names and different encodings."""
    data, proof = json.dumps(text), json.dumps(mac)
    escaped = json.dumps("".join(text)).replace("a", "\\u0061")
    tails = ["", *[f',"type":{value}' for value in ("1", "2", '"1"', '"2"', "null", "[]", "{}", "true", "-1")]]
    tails += [f',"type":1,"type":2,{AGREEMENT}', f',"data":{OTHER}', f',"mac":{proof}', ',"amount":1,"app_id":1']
    for tail in tails:
        yield f'{{"data":{data},"mac":{proof}{tail}}}'
        yield f'{{"mac":{proof},"data":{escaped}{tail}}}'
        yield f' {{"x":{OTHER},"data":{data},"mac":{proof}{tail} }}\n'
        yield f'{{"data":{OTHER},"data":{data},"mac":{proof}{tail}}}'
        yield f'\ufeff{{"data":{data},"mac":{proof}{tail}}}'


def zalopay_readings(merchant, text):
    """Build bodies with this data string and its MAC, and return what payctl reads from each accepted body."""
    bodies = envelopes(text, merchant.mac("zalopay", text))
    verdicts = [merchant.verify("zalopay", Request(body=body.encode("utf-8", "surrogatepass"))) for body in bodies]
    return {verdict for verdict in verdicts if isinstance(verdict, Callback)}


@pytest.mark.parametrize("name", DATA_TEXTS)
def test_one_zalopay_text_has_one_reading(merchant, name):
    """No field except ZaloPay's `data` changes the result, because the MAC covers only `data`.

    Repeated names are refused.
    """
    orders = [reading.order_ref for reading in zalopay_readings(merchant, DATA_TEXTS[name])]
    assert orders == ([READABLE[name]] if name in READABLE else [])


READINGS = {"vnpay": vnpay_readings, "zalopay": zalopay_readings}
"""For each gateway that escapes the values it signs or signs JSON, a function that returns all accepted meanings."""


@pytest.mark.parametrize("gateway", READINGS)
def test_the_merchant_s_callback_has_one_reading(merchant, gateway):
    """All accepted requests with the signed string of the merchant's callback have the meaning of that callback."""
    expected = merchant.verify(gateway, getattr(merchant, gateway)())
    assert READINGS[gateway](merchant, SIGNED_TEXTS[gateway](merchant)) == {expected}


members = st.sampled_from(
    [
        '"amount":450000',
        '"amount":"450000"',
        '"amount":null',
        '"amount":1',
        '"zp_trans_id":7',
        '"zp_trans_id":"7"',
        '"app_trans_id":"261205_TB-1"',
        '"app_trans_id":"TB-2"',
        '"app_id":2900',
        '"app_id":2900.0',
        '"binding_id":"7"',
        '"msg_type":1',
        '"type":2',
        '"status":-1',
    ]
)


@thorough
@given(members=st.lists(members, max_size=8))
def test_accepted_readings_of_one_zalopay_text_agree(merchant, members):
    """All accepted ZaloPay bodies with the same signed data have the same order, amount and outcome."""
    assert len(zalopay_readings(merchant, f"{{{','.join(members)}}}")) <= 1
