"""Test the HTTP status and the body of each gateway's replies, without processing a callback."""

import json

import pytest

from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.providers import GATEWAYS

ZALOPAY = {
    Answer.DONE: (1, "success"),
    Answer.DUPLICATE: (1, "success"),
    Answer.IGNORED: (1, "success"),
    Answer.UNKNOWN_ORDER: (-1, "order not found"),
    Answer.WRONG_AMOUNT: (-1, "invalid amount"),
    Answer.BAD_SIGNATURE: (-1, "mac not equal"),
    Answer.UNCLEAR: (0, "not readable"),
    Answer.TRY_AGAIN: (0, "try again"),
    Answer.NOT_CONFIGURED: (0, "not configured"),
}
VNPAY = {
    Answer.DONE: ("00", "Confirm Success"),
    Answer.DUPLICATE: ("02", "Order already confirmed"),
    Answer.IGNORED: ("00", "Confirm Success"),
    Answer.UNKNOWN_ORDER: ("01", "Order not found"),
    Answer.WRONG_AMOUNT: ("04", "Invalid amount"),
    Answer.BAD_SIGNATURE: ("97", "Invalid signature"),
    Answer.UNCLEAR: ("99", "Not readable"),
    Answer.TRY_AGAIN: ("99", "Try again"),
    Answer.NOT_CONFIGURED: ("99", "Not configured"),
}
STATUS = {
    Answer.DONE: 200,
    Answer.DUPLICATE: 200,
    Answer.IGNORED: 200,
    Answer.UNKNOWN_ORDER: 200,
    Answer.WRONG_AMOUNT: 200,
    Answer.BAD_SIGNATURE: 400,
    Answer.UNCLEAR: 500,
    Answer.TRY_AGAIN: 500,
    Answer.NOT_CONFIGURED: 503,
}


@pytest.mark.parametrize("answer", Answer)
def test_zalopay_replies_have_a_return_code(answer):
    """The reply to ZaloPay always has HTTP status 200. Only return_code 0 makes ZaloPay call again."""
    reply = GATEWAYS["zalopay"].reply(answer)
    code, message = ZALOPAY[answer]
    assert (reply.status, json.loads(reply.body)) == (200, {"return_code": code, "return_message": message})


@pytest.mark.parametrize("answer", Answer)
def test_vnpay_replies_have_an_rspcode(answer):
    """The reply to VNPay always has HTTP status 200.

    RspCode 00 or 02 makes VNPay stop calling, so a failed or held payment also gets 00.
    """
    reply = GATEWAYS["vnpay"].reply(answer)
    code, message = VNPAY[answer]
    assert (reply.status, json.loads(reply.body)) == (200, {"RspCode": code, "Message": message})


@pytest.mark.parametrize("answer", Answer)
def test_payos_replies_have_an_http_status(answer):
    """PayOS gets 200 for each genuine webhook, even for an unknown order.

    Otherwise, PayOS would not register the webhook URL.
    """
    reply = GATEWAYS["payos"].reply(answer)
    assert reply.status == STATUS[answer]
    assert json.loads(reply.body)["success"] is (reply.status == 200)


@pytest.mark.parametrize("answer", Answer)
def test_momo_replies_to_genuine_notifications_are_204_without_body(answer):
    """For a genuine notification, MoMo gets 204 without a body or content type."""
    reply = GATEWAYS["momo"].reply(answer)
    expected = 204 if STATUS[answer] == 200 else STATUS[answer]
    assert reply.status == expected
    assert (reply.body == "") == (reply.headers == {}) == (expected == 204)


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_reply_body_is_json(name):
    """Each reply body is JSON with the JSON content type. If a gateway has no keys, the reply says "not configured"."""
    replies = {answer: GATEWAYS[name].reply(answer) for answer in Answer}
    for reply in replies.values():
        if reply.body:
            assert reply.headers == {"content-type": "application/json"}
            json.loads(reply.body)
    assert "not configured" in replies[Answer.NOT_CONFIGURED].body.lower(), f"add it in providers/{name}.py: reply"


@pytest.mark.parametrize("name", GATEWAYS)
def test_replies_do_not_share_their_headers(name):
    """A header that is added to one reply does not appear in the next reply."""
    GATEWAYS[name].reply(Answer.BAD_SIGNATURE).headers["x"] = "y"
    assert "x" not in GATEWAYS[name].reply(Answer.BAD_SIGNATURE).headers
