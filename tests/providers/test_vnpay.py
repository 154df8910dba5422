"""Test that payctl verifies VNPay's callbacks in each encoding, and interprets their parameters and codes."""

from dataclasses import replace

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
from ticketbottle_payctl.providers.vnpay import form_encoded


def reason(verdict):
    """Return why a callback was not accepted, or None if it was accepted."""
    return verdict.reason if isinstance(verdict, Rejected | Unclear) else None


@pytest.mark.parametrize("absent", ["tmn_code", "hash_secret"])
def test_vnpay_without_its_keys_is_not_configured(merchant, absent):
    """VNPay is not configured if the terminal code or the secret is missing."""
    assert reason(merchant.verify("vnpay", merchant.vnpay(), **{absent: ()})) is RejectReason.NOT_CONFIGURED


def test_vnpay_values_are_form_encoded():
    """VNPay's encoding escapes every character except letters, digits and * - . _ and so also escapes the tilde."""
    assert form_encoded("aZ09*-._ ~!'()/é+&=") == "aZ09*-._+%7E%21%27%28%29%2F%C3%A9%2B%26%3D"


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.replace("*", "%2A"),
        lambda text: text.replace("+", "%20"),
        lambda text: text.replace("%C3", "%c3"),
        lambda text: text.replace("%28", "(").replace("%7E", "~"),
    ],
)
@pytest.mark.parametrize("empty", [{}, {"vnp_BankTranNo": "", "vnp_CardType": ""}], ids=["no_empty", "empty_signed"])
def test_vnpay_signs_the_encoding_that_it_sends(merchant, encode, empty):
    """VNPay's hash can cover the query as received, with or without empty values.

    VNPay's own samples are signed in this way.
    """
    query = merchant.vnpay(vnp_OrderInfo="Vé * (2) ~ é", **empty).query.rpartition("&")[0]
    sent = encode(query)
    request = replace(merchant.vnpay(), query=f"{sent}&vnp_SecureHash={merchant.mac('vnpay', sent, 'sha512')}")
    assert merchant.verify("vnpay", request).amount == 450000


@pytest.mark.parametrize("empty", [{}, {"vnp_BankTranNo": "", "vnp_CardType": ""}], ids=["no_empty", "empty_signed"])
def test_vnpay_may_send_another_encoding_than_it_signs(merchant, empty):
    """A hash over the documented encoding is accepted, even if VNPay sends the query in another encoding."""
    signed = merchant.vnpay(vnp_OrderInfo="Vé * (2) é", **empty).query.rpartition("&")[0]
    sent = signed.replace("*", "%2A").replace("+", "%20")
    request = replace(merchant.vnpay(), query=f"{sent}&vnp_SecureHash={merchant.mac('vnpay', signed, 'sha512')}")
    assert merchant.verify("vnpay", request).amount == 450000


@pytest.mark.parametrize(
    "appended",
    [
        "vnp_Amount=45000000",
        "vnp_Amount=",
        "vnp_Amount",
        "%76np_Amount=45000000",
        "vnp%5FAmount=1",
        "vnp_SecureHash=00",
        "vnp_SecureHashType=MD5&vnp_SecureHashType=SHA256",
    ],
)
def test_a_vnp_parameter_given_twice_is_refused(merchant, appended):
    """A repeated vnp_ parameter is refused, however it is spelled and even if it repeats the same value."""
    genuine = merchant.vnpay()
    request = replace(genuine, query=f"{genuine.query}&{appended}")
    assert reason(merchant.verify("vnpay", request)) is RejectReason.MALFORMED


@pytest.mark.parametrize(
    "beside",
    [
        "utm=1&utm=2",
        "VNP_AMOUNT=1",
        "amount=1",
        "=x",
        "&&",
        "x=%FF",
        "%FF=1",
        "a;vnp_Amount=1",
        "vnp_SecureHashType=MD5",
        "vnp_New=",
    ],
)
def test_unsigned_vnpay_parameters_change_nothing(merchant, beside):
    """The hash type, empty parameters and parameters without the vnp_ prefix do not affect VNPay's verification."""
    genuine = merchant.vnpay()
    expected = merchant.verify("vnpay", genuine)
    assert isinstance(expected, Callback)
    assert merchant.verify("vnpay", replace(genuine, query=f"{genuine.query}&{beside}")) == expected
    assert merchant.verify("vnpay", replace(genuine, query=f"{beside}&{genuine.query}")) == expected


@pytest.mark.parametrize("appended", ["vnp_New=%FF", "vnp_%FF=1", "vnp_New=%C0%AF", "vnp_New=\ud800"])
def test_a_vnp_parameter_that_is_not_utf_8_is_refused(merchant, appended):
    """A vnp_ parameter that is not UTF-8 is refused, because no documentation says how to decode it."""
    genuine = merchant.vnpay()
    request = replace(genuine, query=f"{genuine.query}&{appended}")
    assert reason(merchant.verify("vnpay", request)) is RejectReason.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"vnp_Amount": amount}
        for amount in ("0", "-45000000", "45000050", "450000.00", "4.5e7", "٤٥٠٠", " 45000000", "1" * 5000, None)
    ]
    + [{"vnp_TxnRef": None}, {"vnp_TxnRef": "a\x00b"}, {"vnp_TxnRef": "a\nb"}]
    + [{"vnp_ResponseCode": None}, {"vnp_TransactionStatus": None}, {"vnp_TransactionNo": None}]
    + [{"vnp_TransactionNo": "abc"}, {"vnp_TransactionNo": "-1"}],
)
def test_a_signed_vnpay_callback_with_a_wrong_value_is_unreadable(merchant, changes):
    """A VNPay callback with a missing field or an invalid amount is unreadable, even if its hash is valid."""
    assert reason(merchant.verify("vnpay", merchant.vnpay(**changes))) is UnclearReason.UNREADABLE


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha1"])
def test_the_sender_of_a_vnpay_callback_does_not_choose_the_algorithm(merchant, algorithm):
    """An older or weaker VNPay hash is refused, regardless of vnp_SecureHashType."""
    request = merchant.vnpay(algorithm=algorithm)
    request = replace(request, query=f"{request.query}&vnp_SecureHashType={algorithm.upper()}")
    assert reason(merchant.verify("vnpay", request)) is RejectReason.SIGNATURE


@pytest.mark.parametrize("terminal", ["OTHER", "tbtest01", None])
def test_a_vnpay_callback_for_another_terminal_is_refused(merchant, terminal):
    """A VNPay callback for another terminal is refused, even if its hash is valid."""
    assert reason(merchant.verify("vnpay", merchant.vnpay(vnp_TmnCode=terminal))) is RejectReason.OTHER_MERCHANT


@pytest.mark.parametrize(
    ("response", "status", "outcome"),
    [
        ("00", "00", Outcome.COMPLETED),
        ("00", "02", Outcome.FAILED),
        ("51", "00", Outcome.FAILED),
        ("24", "02", Outcome.CANCELLED),
        ("11", "02", Outcome.CANCELLED),
    ]
    + [(code, "02", Outcome.FAILED) for code in ("09", "10", "12", "13", "51", "65", "75", "79", "99")],
)
def test_two_documented_vnpay_codes_decide_the_outcome(merchant, response, status, outcome):
    """A VNPay payment is paid only if both codes are 00. Codes 24 and 11 mean cancelled.

    Other final codes mean failed.
    """
    verdict = merchant.verify("vnpay", merchant.vnpay(vnp_ResponseCode=response, vnp_TransactionStatus=status))
    assert (verdict.outcome, verdict.ignored_because) == (outcome, None)


@pytest.mark.parametrize(
    ("response", "status", "because"),
    [
        ("07", "00", IgnoredBecause.HELD),
        ("00", "07", IgnoredBecause.HELD),
        ("24", "07", IgnoredBecause.HELD),
        ("00", "04", IgnoredBecause.HELD),
        ("99", "04", IgnoredBecause.HELD),
        ("00", "01", IgnoredBecause.PENDING),
        ("99", "01", IgnoredBecause.PENDING),
        ("00", "05", IgnoredBecause.REFUND),
        ("00", "06", IgnoredBecause.REFUND),
        ("00", "09", IgnoredBecause.REFUND),
        ("0", "0", IgnoredBecause.UNDOCUMENTED),
        ("98", "02", IgnoredBecause.UNDOCUMENTED),
        ("00", "03", IgnoredBecause.UNDOCUMENTED),
        ("24", "08", IgnoredBecause.UNDOCUMENTED),
        ("ZZ", "00", IgnoredBecause.UNDOCUMENTED),
    ],
)
def test_a_vnpay_code_that_is_not_final_settles_nothing(merchant, response, status, because):
    """VNPay's code 04 (held money) and undocumented codes settle nothing.

    payctl does not mark the payment FAILED, because that would release the tickets.
    """
    verdict = merchant.verify("vnpay", merchant.vnpay(vnp_ResponseCode=response, vnp_TransactionStatus=status))
    assert (verdict.outcome, verdict.ignored_because) == (Outcome.IGNORED, because)


def test_the_merchant_s_own_payment_url_is_not_a_callback(merchant):
    """A VNPay payment URL is refused as a callback because it has no result, even though it has a valid signature."""
    absent = dict.fromkeys(("vnp_ResponseCode", "vnp_TransactionStatus", "vnp_TransactionNo"))
    request = merchant.vnpay(**absent, vnp_Command="pay", vnp_CreateDate="20261205100000")
    assert reason(merchant.verify("vnpay", request)) is RejectReason.MALFORMED
    for added in ("&vnp_ResponseCode=", "&vnp_TransactionStatus", "&vnp_ResponseCode&vnp_TransactionStatus="):
        with_empty = replace(request, query=request.query + added)
        assert reason(merchant.verify("vnpay", with_empty)) is RejectReason.MALFORMED


@pytest.mark.parametrize("number", ["0", "00"])
def test_a_vnpay_transaction_number_of_zero_becomes_none(merchant, number):
    """A VNPay transaction number of 0 becomes None, because no transaction exists."""
    assert merchant.verify("vnpay", merchant.vnpay(vnp_TransactionNo=number)).gateway_transaction_id is None


def test_a_vnpay_query_that_is_too_large_is_refused(merchant):
    """A query string that is longer than any VNPay callback is refused."""
    assert (
        reason(merchant.verify("vnpay", replace(merchant.vnpay(), query="vnp_A=1&" * 20_000))) is RejectReason.MALFORMED
    )
