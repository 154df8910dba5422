"""Test that callbacks with hostile content, forged or genuine, are either refused or settled correctly."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ticketbottle_payctl.jobs.process_webhook import Alert, Trace, WebhookOutcome
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment

KEYS = environment()
LONG = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=9000))  # noqa: S311 - incompressible
INJECTIONS = [
    "'; DROP TABLE payments; --",
    "' OR '1'='1",
    '"; DELETE FROM outbox; --',
    "%s%(reference)s%%",
    "$1 :order_code {0}",
    "\\'; SELECT pg_sleep(9); --",
    "E'\\047'",
    "\u02bc; DROP TABLE payments; --",
    "\u202egnp.exe\u2066",
    "$$;ROLLBACK;$$",
]
CONTROLS = ["\x00", "A\x00B", "A\nB", "\x1b[31m", "\x7f"]
NUMBERS = [0, -1, 10**30, 10**400, 2**31, 2**63, 1.5, True, None, "", "0x10", "1e5", "١٢٣", "9" * 70, [], {}]


def zalopay(kind=1, **changes):
    """Return a ZaloPay callback with a valid signature."""
    data = {"app_id": int(KEYS["ZALOPAY_APP_ID"]), "app_trans_id": "261123_TB-1", "amount": 250_000, "zp_trans_id": 7}
    return signing.zalopay(data | changes, KEYS["ZALOPAY_KEY2"], kind=kind)


def payos(**changes):
    """Return a PayOS callback with a valid signature."""
    data = {"orderCode": 7, "amount": 250_000, "paymentLinkId": "link", "code": "00", "description": "TB-1"}
    return signing.payos(data | changes, KEYS["PAYOS_CHECKSUM_KEY"])


def vnpay(**changes):
    """Return a VNPay callback with a valid signature."""
    parameters = {"vnp_TmnCode": KEYS["VNPAY_TMN_CODE"], "vnp_Amount": "25000000", "vnp_TransactionNo": "7"}
    parameters |= {"vnp_TxnRef": "TB-1", "vnp_ResponseCode": "00", "vnp_TransactionStatus": "00"}
    return signing.vnpay(parameters | changes, KEYS["VNPAY_HASH_SECRET"])


def momo(**changes):
    """Return a MoMo callback with a valid signature."""
    fields = {"partnerCode": KEYS["MOMO_PARTNER_CODE"], "orderId": "TB-1", "requestId": "1", "amount": 250_000}
    fields |= {"orderInfo": "", "orderType": "", "transId": 7, "resultCode": 0, "message": "", "payType": ""}
    return signing.momo({**fields, "responseTime": 1, "extraData": ""} | changes, *MOMO_KEYS)


MOMO_KEYS = (KEYS["MOMO_ACCESS_KEY"], KEYS["MOMO_SECRET_KEY"])
TEXTS = [*INJECTIONS, *CONTROLS, LONG]
REFERENCES = {
    "zalopay": lambda text: zalopay(app_trans_id=f"261123_{text}"),
    "payos": lambda text: payos(paymentLinkId=text),
    "vnpay": lambda text: vnpay(vnp_TxnRef=text),
    "momo": lambda text: momo(orderId=text),
}
NUMBER_FIELDS = {
    "zalopay amount": lambda number: zalopay(amount=number),
    "zalopay id": lambda number: zalopay(zp_trans_id=number),
    "zalopay app": lambda number: zalopay(app_id=number),
    "payos amount": lambda number: payos(amount=number),
    "payos order": lambda number: payos(orderCode=number),
    "momo amount": lambda number: momo(amount=number),
    "momo id": lambda number: momo(transId=number),
    "vnpay amount": lambda number: vnpay(vnp_Amount=str(number)),
    "vnpay id": lambda number: vnpay(vnp_TransactionNo=str(number)),
}
PLAIN_REFERENCES = {"momo"}
"""The gateways whose references have only plain characters, so that no reference looks like SQL."""

HOSTILE = {
    "zalopay: a surrogate": lambda: signing.zalopay(
        f'{{"app_id":{KEYS["ZALOPAY_APP_ID"]},"app_trans_id":"261123_\\ud800","amount":1,"zp_trans_id":1}}',
        KEYS["ZALOPAY_KEY2"],
    ),
    "zalopay: NaN": lambda: zalopay(amount=float("nan")),
    "zalopay: infinity": lambda: zalopay(zp_trans_id=float("inf")),
    "zalopay: data is a number": lambda: signing.zalopay("5", KEYS["ZALOPAY_KEY2"]),
    "zalopay: data is empty": lambda: signing.zalopay("", KEYS["ZALOPAY_KEY2"]),
    "zalopay: a name twice": lambda: signing.zalopay('{"amount":1,"amount":2}', KEYS["ZALOPAY_KEY2"]),
    "zalopay: nested deep": lambda: signing.zalopay("[" * 20_000, KEYS["ZALOPAY_KEY2"]),
    "zalopay: thousands of digits": lambda: signing.zalopay(f'{{"amount":{"9" * 5000}}}', KEYS["ZALOPAY_KEY2"]),
    "vnpay: codes of anything": lambda: vnpay(vnp_ResponseCode="' OR 1", vnp_TransactionStatus="\x00"),
    "momo: a second order id": lambda: momo(message="x&orderId=TB-2"),
    "momo: extra data": lambda: momo(extraData=LONG, message="\x00\x1b"),
}


def survives(shop, request, **options):
    """Process a request, assert that it does not change the payment, and return the report."""
    payment = shop.payment("vnpay")
    before = shop.tables()
    report = shop.process(request, **options)
    after = shop.tables()
    assert report.outcome is WebhookOutcome.REFUSED
    assert after["payments"] == before["payments"]
    assert (after["outbox"], shop.row(payment)["status"]) == ([], "PENDING")
    return report


@pytest.mark.parametrize("gateway", list(REFERENCES))
def test_a_genuine_callback_with_a_hostile_reference_is_refused(shop, gateway):
    """`payctl` refuses a genuine callback whose reference contains SQL or control characters, and changes nothing."""
    for text in TEXTS:
        report = survives(shop, REFERENCES[gateway](text))
        assert report.reason in {"malformed", "unreadable", "ambiguous", "unknown_order"}, ascii(text)
        assert (report.reason == "unreadable") or text not in CONTROLS, ascii(text)


@pytest.mark.parametrize("gateway", sorted(GATEWAYS.keys() - PLAIN_REFERENCES))
def test_an_order_code_that_looks_like_sql_is_settled(shop, gateway):
    """If a payment's order code looks like SQL, the payment is settled, and its event has the same order code."""
    for text in INJECTIONS:
        payment = shop.payment(gateway, order_code=text)
        report = shop.process(callback(payment))
        assert (report.outcome, report.payment_id) == (WebhookOutcome.SETTLED, payment.id), ascii(text)
        assert [event["payload"]["order_code"] for event in shop.events(payment)] == [text]
        assert shop.receipts()[-1]["reference"] == payment.reference


@pytest.mark.parametrize("field", list(NUMBER_FIELDS))
def test_a_genuine_callback_with_a_hostile_number_is_refused(shop, field):
    """If a genuine callback has a hostile value in place of a number, payctl refuses it and changes nothing."""
    for number in NUMBERS:
        survives(shop, NUMBER_FIELDS[field](number))


def test_an_order_with_a_hostile_amount_is_not_read_as_an_agreement(shop):
    """`payctl` refuses a ZaloPay order with a hostile amount, even if its unsigned type says "agreement"."""
    for number in NUMBERS:
        survives(shop, zalopay(kind=2, amount=number, zp_trans_id=number))


@pytest.mark.parametrize("name", list(HOSTILE))
def test_signed_nonsense_is_refused(shop, name):
    """`payctl` refuses a meaningless callback with a valid signature, and does not raise an exception."""
    survives(shop, HOSTILE[name]())


@pytest.mark.parametrize(
    ("make", "alert", "answer"),
    [
        (lambda: zalopay(amount="x"), Alert.UNREADABLE, (200, '"return_code":0')),
        (lambda: payos(amount="x"), Alert.UNREADABLE, (500, "not readable")),
        (lambda: vnpay(vnp_Amount="x"), Alert.UNREADABLE, (200, '"RspCode":"99"')),
        (lambda: momo(amount="x"), Alert.UNREADABLE, (500, "not readable")),
        (lambda: payos(description="x&orderCode=5"), Alert.AMBIGUOUS, (500, "not readable")),
        (lambda: momo(message="x&orderId=TB-2"), Alert.AMBIGUOUS, (500, "not readable")),
    ],
)
def test_an_unreadable_genuine_callback_is_stored_and_requested_again(shop, make, alert, answer):
    """If a genuine callback cannot be read, payctl stores it, raises an alert, and asks the gateway to call again."""
    request = make()
    report = survives(shop, request)
    assert (report.reason, report.alert) == (alert.value, alert)
    assert (report.reply.status, answer[1] in report.reply.body) == (answer[0], True)
    (receipt,) = shop.receipts()
    assert (bytes(receipt["body"]), receipt["query"]) == (request.body, request.query)
    assert receipt["outcome"] == "UNCLEAR"


@pytest.mark.parametrize(
    "make", [lambda: vnpay(vnp_ResponseCode="98", vnp_TransactionStatus="02"), lambda: momo(resultCode=4711)]
)
def test_a_code_that_is_not_documented_settles_nothing_and_alerts(shop, make):
    """A callback with an undocumented result code leaves the payment unchanged and raises an alert."""
    report = shop.process(make())
    assert (report.outcome, report.alert) == (WebhookOutcome.IGNORED, Alert.UNDOCUMENTED_CODE)
    assert (shop.events(), len(shop.receipts())) == ([], 1)


def test_a_repeated_callback_changes_nothing_at_any_time(shop):
    """A repeated callback for a settled payment changes nothing, even if it has a different trace."""
    payment = shop.payment()
    shop.process(payment)
    settled = shop.row(payment)
    assert shop.process(payment, trace=Trace("another")).outcome is WebhookOutcome.ALREADY_SETTLED
    assert (shop.row(payment), len(shop.events())) == (settled, 1)


@pytest.mark.parametrize(
    "forge",
    [
        lambda query: query.replace("vnp_SecureHash=", "vnp_SecureHash=0"),
        lambda query: query.partition("&vnp_SecureHash")[0],
        lambda query: f"{query}&vnp_SecureHashType=MD5&vnp_Extra=1",
        lambda query: f"{query}&vnp_Amount=100",
        lambda query: query.replace("vnp_Amount=25", "vnp_Amount=99"),
        lambda query: f"{query.partition('&vnp_SecureHash')[0]}&vnp_SecureHash=",
    ],
)
def test_every_forgery_gets_the_same_reply(shop, forge):
    """All forged callbacks get the same reply, which does not reveal which check failed."""
    genuine = callback(shop.payment("vnpay", amount=250_000))
    report = survives(shop, type(genuine)(genuine.method, genuine.path, forge(genuine.query)))
    assert report.reply.body == '{"RspCode":"97","Message":"Invalid signature"}'
    assert shop.receipts() == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_a_callback_with_a_changed_bit_has_no_other_effect(shop, data):
    """A callback with one changed bit is either refused or has the same effect as the original callback."""
    in_body = [name for name, gateway in GATEWAYS.items() if gateway.method == "POST"]
    payment = shop.payment(data.draw(st.sampled_from(in_body)))
    request = callback(payment, Scenario.PAID)
    position = data.draw(st.integers(0, len(request.body) * 8 - 1))
    changed = bytearray(request.body)
    changed[position // 8] ^= 1 << position % 8
    report = shop.process(type(request)(request.method, request.path, "", bytes(changed)))
    row = shop.row(payment)
    if report.outcome is WebhookOutcome.SETTLED:  # the bit is in a part that is neither signed nor read
        assert (row["status"], len(shop.events(payment))) == ("COMPLETED", 1)
    else:
        assert (row["status"], shop.events(payment)) == ("PENDING", [])
