"""Test that an explanation names the gateway's signing rule that a sender did not follow."""

import json
from urllib.parse import quote, quote_plus

import pytest

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.explain import explain


def codes(merchant, gateway, request):
    """Return the codes of all hints in an explanation."""
    explanation = explain(GATEWAYS[gateway], request, merchant.credentials(gateway))
    return {hint.code for hint in explanation.hints}


@pytest.mark.parametrize(
    ("sent", "signed", "code"),
    [
        ({"indent": 1}, {"separators": (",", ":")}, "minified"),
        ({"separators": (",", ":")}, {}, "spaced"),
        ({"separators": (",", ":")}, {"indent": 2}, "pretty"),
        ({"separators": (",", ":")}, {"indent": 4}, "pretty"),
        ({"indent": 1}, {"separators": (",", ":"), "sort_keys": True}, "reordered"),
        ({"indent": 1}, {"separators": (",", ":"), "ensure_ascii": True}, "escaped"),
    ],
)
def test_the_explanation_finds_reformatted_zalopay_data(merchant, sent, signed, code):
    """If a program reformatted ZaloPay's data, the hint names the layout that ZaloPay signed."""
    content = merchant.zalopay_data
    arrived = json.dumps(content, **{"ensure_ascii": False, **sent})
    text = json.dumps(content, **{"ensure_ascii": False, **signed})
    assert codes(merchant, "zalopay", merchant.zalopay(text, data=arrived)) == {code}


def test_the_explanation_finds_zalopay_data_that_is_an_object(merchant):
    """If a program replaced ZaloPay's data string with an object, the hint says so."""
    genuine = json.loads(merchant.zalopay().body)
    body = merchant.dumps({**genuine, "data": json.loads(genuine["data"])}).encode()
    assert codes(merchant, "zalopay", Request(body=body)) == {"data_object"}


PAYOS = [
    ("null_as_word", lambda m, d: m.payos_text({**d, "counterAccountName": "null"})),
    ("null_as_word", lambda m, d: m.payos_text({**d, "counterAccountName": "None"})),
    ("null_left_out", lambda m, d: m.payos_text({k: v for k, v in d.items() if v is not None})),
    ("unsorted", lambda _, d: "&".join(f"{k}={'' if v is None else v}" for k, v in d.items())),
    ("url_encoded", lambda m, d: m.payos_text({**d, "description": quote("Vé & 2")})),
    ("json_of_data", lambda m, d: m.dumps(d)),
    (
        "absent_as_empty",
        lambda m, d: m.payos_text(
            {
                **dict.fromkeys(("counterAccountBankId", "counterAccountBankName", "counterAccountNumber")),
                **dict.fromkeys(("virtualAccountName", "virtualAccountNumber")),
                **d,
            }
        ),
    ),
]


@pytest.mark.parametrize(("code", "text_of"), PAYOS)
def test_the_explanation_names_the_wrong_payos_signing_rule(merchant, code, text_of):
    """For PayOS, mistakes with null, the order, the encoding or absent fields each have their own hint."""
    data = {**merchant.payos_data, "description": "Vé & 2"}
    assert codes(merchant, "payos", merchant.payos(text_of(merchant, data), description="Vé & 2")) == {code}


def test_the_explanation_finds_payos_names_sorted_without_case(merchant):
    """JavaScript sorts capital letters first. The explanation recognises a sender that ignores case when it sorts."""
    data = {**merchant.payos_data, "Zone": "a"}
    text = "&".join(f"{k}={'' if data[k] is None else data[k]}" for k in sorted(data, key=str.casefold))
    assert codes(merchant, "payos", merchant.payos(text, Zone="a")) == {"sorted_ignoring_case"}


def test_the_explanation_finds_payos_numbers_signed_as_spelled(merchant):
    """PayOS signs 450000.0 as 450000. The explanation recognises a sender that signs the original digits."""
    text = merchant.payos_text({**merchant.payos_data, "amount": "450000.0"})
    assert codes(merchant, "payos", merchant.payos(text, amount=450000.0)) == {"number_as_received"}


def vnpay_text(params, encode=lambda text: quote_plus(text, safe="*"), order=sorted):
    """Return the parameters as a string to sign, with this encoding and order."""
    return "&".join(f"{encode(name)}={encode(params[name])}" for name in order(params))


VNPAY = [
    ("decoded", lambda p: vnpay_text(p, str)),
    ("percent_20", lambda p: vnpay_text(p, lambda text: quote(text, safe="*"))),
    ("php_encoding", lambda p: vnpay_text(p, quote_plus)),
    ("node_encoding", lambda p: vnpay_text(p, lambda text: quote(text, safe="!'()*~").replace("%20", "+"))),
    ("foreign_signed", lambda p: vnpay_text({"utm": "x", **p})),
    ("hash_type_signed", lambda p: vnpay_text({**p, "vnp_SecureHashType": "HMACSHA512"})),
    ("unsorted", lambda p: vnpay_text(p, order=lambda names: sorted(names, reverse=True))),
]


@pytest.mark.parametrize(("code", "text_of"), VNPAY)
def test_the_explanation_names_the_wrong_vnpay_signing_rule(merchant, code, text_of):
    """For VNPay, a wrong encoding or order, and a signed parameter that is empty or not VNPay's, each have a hint."""
    params = {**merchant.vnpay_params, "vnp_OrderInfo": "ve * (2)!"}
    every = {**params, "vnp_BankTranNo": "", "vnp_SecureHashType": "HMACSHA512", "utm": "x"}
    query = vnpay_text(every, order=lambda names: sorted(names, reverse=True))
    mac = merchant.mac("vnpay", text_of(params), "sha512")
    assert codes(merchant, "vnpay", Request("GET", query=f"{query}&vnp_SecureHash={mac}")) == {code}


MOMO = [
    ("without_access_key", lambda m, b: m.momo_text(b).partition("&")[2]),
    (
        "unsorted",
        lambda _, b: "&".join(
            f"{k}={v}" for k, v in {"accessKey": "canary-momo-access", **b}.items() if k != "paymentOption"
        ),
    ),
    (
        "extras_signed",
        lambda _, b: "&".join(f"{k}={v}" for k, v in sorted({"accessKey": "canary-momo-access", **b}.items())),
    ),
    ("empty_left_out", lambda m, b: m.momo_text(b).replace("extraData=&", "")),
    ("url_encoded", lambda m, b: m.momo_text({**b, "orderInfo": quote(b["orderInfo"], safe="")})),
]


@pytest.mark.parametrize(("code", "text_of"), MOMO)
def test_the_explanation_names_the_wrong_momo_signing_rule(merchant, code, text_of):
    """For MoMo, mistakes with the access key, order, extra fields, empty values or encoding each have a hint."""
    body = {**merchant.momo_body, "paymentOption": "momo"}
    assert codes(merchant, "momo", merchant.momo(text_of(merchant, body), paymentOption="momo")) == {code}
