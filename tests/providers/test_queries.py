"""Test the gateways' status queries without a network.

The tests cover payctl's requests and its interpretation of each response.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from tests.stand_ins import JSON, KEYS, REQUESTS, Gateways
from ticketbottle_payctl.domain.callback import Callback, Outcome
from ticketbottle_payctl.providers import by_name, credentials
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.exchange import HttpRequest, HttpResponse
from ticketbottle_payctl.providers.queries.status_query import Inconclusive, NoVerdict, StatusRequest
from ticketbottle_payctl.secret import Secret

NOW = datetime(2026, 11, 23, 20, 0, 1, tzinfo=UTC)
ASKED = StatusRequest("order-1", "TB-1", 250_000, NOW - timedelta(hours=2), NOW, "6f1c2d3e-0000-4000-8000-0123456789ab")
ASKED_BY_PAYCTL = [name for name, query in QUERIES.items() if query.ask is not None]
"""The gateways whose status queries payctl builds itself. A gateway's own library builds the other queries."""

NUMBERS = {"zalopay": "261123000000077", "payos": "order-1", "vnpay": "14123456", "momo": "4088878653"}
"""The transaction id in the response of each stand-in gateway."""

OTHER_PAYMENT = {
    "zalopay": None,
    "payos": {"id": "other"},
    "vnpay": {"TxnRef": "other"},
    "momo": {"orderId": "other"},
}
"""For each gateway, the change that makes a correctly signed response refer to a different payment.

None means that the response does not name the payment.
"""

WRONG_SIGNATURE = {"zalopay": None, "payos": {"signature": "0" * 64}, "vnpay": {"vnp_Amount": "1"}, "momo": None}
"""For each gateway, the change that makes a response's signature wrong. None means that the response is not signed."""

NUMBERS_WITHOUT_MONEY = {"payos": "order-1"}
"""The transaction id in the response about an unpaid order, for each gateway that sends one."""

BUSY, PENDING, REFUSED = NoVerdict.BUSY, NoVerdict.PENDING, NoVerdict.QUERY_REFUSED


NO_FACTS = MappingProxyType({})


def keys(gateway):
    """Return the merchant's keys for a gateway."""
    return credentials(by_name(gateway), lambda name: (Secret(KEYS[name]),) if name in KEYS else ())


def answered(gateway, change=lambda _: None, *, state="paid", asked=ASKED, paid=250_000, facts=NO_FACTS):
    """Return payctl's reading of a stand-in gateway's response, after ``change`` has modified the response.

    ``facts`` replace fields of the response before the stand-in signs it.
    """
    gateways = Gateways(states={asked.reference: state}, amounts={asked.reference: paid})
    honest = gateways.facts
    gateways.facts = lambda *about: ({**honest(*about)[0], **facts}, paid)
    if gateway == "payos":
        sent = {"x-client-id": KEYS["PAYOS_CLIENT_ID"], "x-api-key": KEYS["PAYOS_API_KEY"]}
        document = gateways.payos(asked.reference, sent)
    else:
        request = QUERIES[gateway].ask(asked, keys(gateway), "https://gateway")
        content = request.body.decode()
        in_json = request.headers["Content-Type"] == JSON
        document = getattr(gateways, gateway)(json.loads(content) if in_json else content)
    change(document)
    return read(gateway, document, asked=asked)


def read(gateway, document, status=200, asked=ASKED):
    """Return payctl's reading of a response with this body."""
    body = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    return QUERIES[gateway].read(HttpResponse(status, body), asked, keys(gateway))


@pytest.mark.parametrize(("gateway", "number"), NUMBERS.items())
def test_a_paid_order_completes_the_payment(gateway, number):
    """For a paid order, the result contains the reference, the order, the amount and the gateway's transaction id."""
    expected = Callback(gateway, Outcome.COMPLETED, "order-1", "TB-1", number, 249_000)
    assert answered(gateway, paid=249_000) == expected


@pytest.mark.parametrize("gateway", ASKED_BY_PAYCTL)
def test_a_query_is_a_post_to_the_documented_address(gateway):
    """A status query is a POST to the documented address, with the gateway's content type."""
    request = QUERIES[gateway].ask(ASKED, keys(gateway), "https://gateway")
    path, kind = REQUESTS[gateway]
    assert (request.method, request.url) == ("POST", f"https://gateway{path}")
    assert request.headers == {"Content-Type": kind, "Accept": "application/json"}


def test_vnpay_is_asked_in_vietnam_s_time():
    """VNPay's query uses Vietnam time, in which 20:00:01 UTC is 03:00:01 on the next day.

    The request id has 32 characters.
    """
    asked = json.loads(QUERIES["vnpay"].ask(ASKED, keys("vnpay"), "").body)
    assert (asked["vnp_CreateDate"], asked["vnp_TransactionDate"]) == ("20261124030001", "20261124010001")
    assert asked["vnp_RequestId"] == ASKED.request_id.replace("-", "")
    assert len(asked["vnp_RequestId"]) == 32


@pytest.mark.parametrize("gateway", sorted(QUERIES))
@pytest.mark.parametrize(
    ("status", "because"),
    [(408, BUSY), (425, BUSY), (429, BUSY), (500, BUSY), (503, BUSY), (201, REFUSED), (404, REFUSED), (499, REFUSED)],
)
def test_another_http_status_than_200_settles_nothing(gateway, status, because):
    """An HTTP status other than 200 settles nothing. For 408, 425, 429 and 5xx, payctl can query again."""
    assert read(gateway, {"return_code": 1, "resultCode": 0}, status) == Inconclusive(because, f"HTTP {status}")


@pytest.mark.parametrize("gateway", sorted(QUERIES))
@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"a":1e400}'])
def test_an_answer_that_is_not_a_json_object_is_malformed(gateway, body):
    """For a response that is not a JSON object, the result has the reason MALFORMED. No exception is raised."""
    assert read(gateway, body).because is NoVerdict.MALFORMED


ANSWERS = [
    *[("momo", {"resultCode": code}, BUSY, f"resultCode {code}") for code in (10, 43, 45, 47)],
    *[("momo", {"resultCode": code}, REFUSED, f"resultCode {code}") for code in (11, 12, 13, 20, 21, 22, 40, 41)],
    ("momo", {"resultCode": 42}, NoVerdict.NOT_FOUND, "resultCode 42"),
    ("momo", {"resultCode": "x"}, NoVerdict.MALFORMED, "resultCode is missing or not a number"),
    ("momo", {"resultCode": 99_999}, NoVerdict.UNKNOWN_STATE, "resultCode 99999"),
    ("momo", {"resultCode": 100_000}, NoVerdict.UNKNOWN_STATE, "resultCode"),
    ("momo", {"resultCode": 99}, NoVerdict.UNKNOWN_STATE, "resultCode 99"),
    ("momo", {"resultCode": 1000}, PENDING, ""),
    ("momo", {"resultCode": 1080}, NoVerdict.REFUNDED, ""),
    ("momo", {"refundTrans": [1]}, NoVerdict.REFUNDED, "the customer paid and got a refund"),
    ("momo", {"amount": 0}, NoVerdict.MALFORMED, "the amount is not a positive whole number of VND"),
    *[("momo", {name: "other"}, NoVerdict.OTHER_PAYMENT,
       "orderId, requestId or partnerCode differs from the query's")
      for name in ("orderId", "requestId", "partnerCode")],
    *[("zalopay", {"return_code": 2, "sub_return_code": sub}, BUSY, f"sub_return_code {sub}")
      for sub in (-429, -500, -999, "-429")],
    *[("zalopay", {"return_code": 2, "sub_return_code": sub}, REFUSED, f"sub_return_code {sub}")
      for sub in (-401, -402)],
    ("zalopay", {"return_code": 2, "sub_return_code": -101}, NoVerdict.NOT_FOUND, "sub_return_code -101"),
    ("zalopay", {"return_code": 2, "sub_return_code": -99_999}, NoVerdict.UNKNOWN_STATE, "sub_return_code -99999"),
    ("zalopay", {"return_code": 2, "sub_return_code": -100_000}, NoVerdict.UNKNOWN_STATE, "sub_return_code"),
    ("zalopay", {"return_code": 2, "sub_return_code": "-x"}, NoVerdict.UNKNOWN_STATE, "sub_return_code"),
    ("zalopay", {"return_code": 4}, NoVerdict.MALFORMED, "return_code is not 1, 2 or 3"),
    ("zalopay", {"is_processing": True}, PENDING, ""),
    ("zalopay", {"return_code": 3, "is_processing": None}, PENDING, ""),
    ("zalopay", {"amount": 0}, NoVerdict.MALFORMED, "the amount is not a positive whole number of VND"),
    ("vnpay", {"vnp_ResponseCode": "91"}, NoVerdict.NOT_FOUND, "code 91"),
    ("vnpay", {"vnp_ResponseCode": "94"}, BUSY, "code 94"),
    ("vnpay", {"vnp_ResponseCode": "99"}, BUSY, "code 99"),
    ("vnpay", {"vnp_ResponseCode": "02"}, REFUSED, "code 02"),
    ("vnpay", {"vnp_ResponseCode": "025"}, REFUSED, "code"),
    ("vnpay", {"vnp_ResponseCode": "-2"}, REFUSED, "code"),
    ("vnpay", {"vnp_ResponseCode": "đ2"}, REFUSED, "code"),
    (
        "vnpay",
        {"vnp_Amount": "1"},
        NoVerdict.SIGNATURE,
        "vnp_SecureHash does not match the response's hash computed with the secret",
    ),
    ("payos", {"code": "101"}, NoVerdict.NOT_FOUND, "code 101"),
    ("payos", {"code": "12345678"}, REFUSED, "code 12345678"),
    ("payos", {"code": "123456789"}, REFUSED, "code"),
    ("payos", {"code": "1 2"}, REFUSED, "code"),
    ("payos", {"code": 5}, REFUSED, "code"),
    ("payos", {"signature": "0" * 64}, NoVerdict.SIGNATURE,
     "the signature was not made from data with the checksum key"),
    ("payos", {"data": []}, NoVerdict.MALFORMED, "data is not an object"),
]  # fmt: skip
"""A gateway's fields in a response that settles nothing, with the reason."""


@pytest.mark.parametrize(("gateway", "fields", "because", "detail"), ANSWERS)
def test_an_answer_that_decides_nothing_has_its_reason(gateway, fields, because, detail):
    """If a response's code decides nothing, the result contains the documented reason and the code."""
    assert answered(gateway, lambda document: document.update(fields)) == Inconclusive(because, detail)


@pytest.mark.parametrize("gateway", [gateway for gateway, change in OTHER_PAYMENT.items() if change is not None])
def test_a_signed_response_about_another_payment_settles_nothing(gateway):
    """If a response names a different payment, it settles nothing, even if its signature is valid."""
    assert answered(gateway, facts=OTHER_PAYMENT[gateway]).because is NoVerdict.OTHER_PAYMENT


@pytest.mark.parametrize("gateway", [gateway for gateway, change in WRONG_SIGNATURE.items() if change is not None])
def test_a_response_with_a_wrong_signature_settles_nothing(gateway):
    """If a gateway signs its responses, a response with a wrong signature settles nothing."""
    assert answered(gateway, lambda document: document.update(WRONG_SIGNATURE[gateway])).because is NoVerdict.SIGNATURE


UNPAID = [
    ("zalopay", "expired", Outcome.CANCELLED),
    ("zalopay", "abandoned", Outcome.CANCELLED),
    ("payos", "failed", Outcome.FAILED),
    ("payos", "expired", Outcome.CANCELLED),
    ("payos", "pending", Inconclusive(PENDING)),
    ("payos", "odd", Inconclusive(NoVerdict.UNKNOWN_STATE, "a status that is not documented")),
    ("vnpay", "failed", Outcome.FAILED),
    ("vnpay", "pending", Inconclusive(PENDING, "code 01")),
    ("vnpay", "held", Inconclusive(NoVerdict.HELD, "code 07")),
    ("vnpay", "odd", Inconclusive(NoVerdict.UNKNOWN_STATE, "code 03")),
    ("vnpay", "refunded", Inconclusive(NoVerdict.REFUNDED, "the transaction is a refund, not a payment")),
    ("momo", "failed", Outcome.FAILED),
    ("momo", "expired", Outcome.CANCELLED),
    ("momo", "pending", Inconclusive(PENDING)),
]
"""The states of :mod:`tests.stand_ins` in which no money arrived, with the result."""


@pytest.mark.parametrize(("gateway", "state", "result"), UNPAID)
def test_an_order_that_was_not_paid_is_read_by_its_state(gateway, state, result):
    """If the response has no amount, payctl uses the payment's amount. Most responses contain no transaction id."""
    verdict = answered(gateway, state=state, paid=0)
    if isinstance(result, Outcome):
        result = Callback(gateway, result, "order-1", "TB-1", NUMBERS_WITHOUT_MONEY.get(gateway), 250_000)
    assert verdict == result


def test_an_unpaid_order_of_zalopay_expires_after_an_hour():
    """An unpaid ZaloPay order counts as cancelled after an hour. Until then, the customer can still pay."""
    verdicts = [
        answered("zalopay", state="abandoned", asked=replace(ASKED, created_at=NOW - age))
        for age in (timedelta(hours=1), timedelta(minutes=59, seconds=59))
    ]
    assert [type(verdict) for verdict in verdicts] == [Callback, Inconclusive]


@pytest.mark.parametrize(("state", "paid"), [("partly", 1000), ("pending", 1), ("expired", 1000)])
def test_a_partly_paid_link_of_payos_settles_nothing(state, paid):
    """If a PayOS link received part of the money and its status is not PAID, the query does not settle the payment."""
    expected = Inconclusive(NoVerdict.PARTLY_PAID, "the customer paid, but the status of the link is not PAID")
    assert signed_payos(state=state, amountPaid=paid) == expected


def test_an_answer_of_payos_about_another_link_is_not_used():
    """A PayOS response about a different payment link is ignored, even if the response's signature is valid."""
    expected = Inconclusive(NoVerdict.OTHER_PAYMENT, "id is not the requested payment link")
    assert signed_payos(id="other") == expected


def signed_payos(*, state="paid", **changes):
    """Return payctl's reading of a signed PayOS response whose data has these changes."""
    return answered("payos", state=state, facts=changes)


@pytest.mark.parametrize(
    ("hundredths", "amount"), [("25000000", 250_000), ("25000050", None), ("25000001", None), ("x", None)]
)
def test_vnpay_s_amount_is_a_hundredth_of_its_number(hundredths, amount):
    """VNPay's amount is in hundredths of a VND. An amount with a fraction of a VND makes the response malformed."""
    gateways = Gateways()
    gateways.facts = lambda *_: ({"TransactionStatus": "00", "Amount": hundredths}, 0)
    verdict = read("vnpay", gateways.vnpay(json.loads(QUERIES["vnpay"].ask(ASKED, keys("vnpay"), "").body)))
    assert (verdict.amount if amount else verdict.because) == (amount or NoVerdict.MALFORMED)


def test_a_number_with_a_fraction_is_signed_as_it_was_received():
    """A number with a fraction is signed with its original digits, and a boolean is signed as an empty string."""
    gateways = Gateways()
    gateways.facts = lambda *_: ({"TransactionStatus": "00", "BankCode": "1.50", "PromotionCode": ""}, 250_000)
    document = gateways.vnpay(json.loads(QUERIES["vnpay"].ask(ASKED, keys("vnpay"), "").body))
    body = json.dumps({**document, "vnp_PromotionCode": True}).replace('"1.50"', "1.50").encode()
    assert read("vnpay", body).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("field", ["TxnRef", "TmnCode"])
def test_an_answer_of_vnpay_about_another_payment_is_not_used(field):
    """A VNPay response about a different payment is ignored, even if the response's signature is valid."""
    gateways = Gateways()
    gateways.facts = lambda *_: ({"TransactionStatus": "00", field: "other"}, 1)
    verdict = read("vnpay", gateways.vnpay(json.loads(QUERIES["vnpay"].ask(ASKED, keys("vnpay"), "").body)))
    assert verdict == Inconclusive(NoVerdict.OTHER_PAYMENT, "vnp_TxnRef or vnp_TmnCode differs from the query's")


@pytest.mark.parametrize("gateway", ASKED_BY_PAYCTL)
def test_a_query_is_signed_with_the_current_keys(gateway):
    """During a key rotation, a query is signed with the current key, which is the first of two values."""
    rotated = {name: (*values, Secret("previous")) for name, values in keys(gateway).items()}
    ask = QUERIES[gateway].ask
    assert ask(ASKED, rotated, "") == ask(ASKED, keys(gateway), "")


def test_a_request_and_a_response_do_not_show_their_content():
    """The repr of a request or response omits the headers and the body, because they contain keys and signatures."""
    texts = [
        repr(HttpRequest("POST", "https://gateway", {"x-api-key": "canary"}, b"canary")),
        repr(HttpResponse(200, b"canary")),
    ]
    assert [text for text in texts if "canary" in text] == []


@pytest.mark.parametrize(
    ("number", "shown"), [(0, None), (-1, None), ("x", None), (None, None), (1, "1"), ("12", "12")]
)
def test_a_transaction_number_is_positive_or_absent(number, shown):
    """A transaction number that is not positive becomes None, because ZaloPay sends 0 if there is no transaction."""
    assert answered("zalopay", lambda document: document.update(zp_trans_id=number)).gateway_transaction_id == shown
