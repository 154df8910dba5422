"""Test that payctl evaluates a reply as the gateway does, by the HTTP status or by a code in the body."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.reply_code import judge_reply

ACKNOWLEDGED = {Answer.DONE, Answer.DUPLICATE, Answer.IGNORED}
REPEATED = {Answer.BAD_SIGNATURE, Answer.UNCLEAR, Answer.NOT_CONFIGURED, Answer.TRY_AGAIN}


@pytest.mark.parametrize("answer", sorted(ACKNOWLEDGED | REPEATED))
@pytest.mark.parametrize("name", GATEWAYS)
def test_payctl_s_own_replies_are_judged_as_they_are_meant(name, answer):
    """A reply for a processed callback counts as an acknowledgement.

    For any other reply, payctl gives a reason.
    """
    gateway = GATEWAYS[name]
    reply = gateway.reply(answer)
    found = judge_reply(gateway.reply_code, reply.status, reply.body)
    assert found.acknowledged is (answer in ACKNOWLEDGED)
    assert (found.why is None) is found.acknowledged
    assert (found.code is None) is (gateway.reply_code is None)


NOT_ACKNOWLEDGED = [
    (
        "zalopay",
        200,
        '{"return_code":-1,"return_message":"mac not equal"}',
        "-1",
        "return_code -1: the service refused",
    ),
    ("zalopay", 200, '{"return_code":0}', "0", "return_code 0: the service could not process the callback yet"),
    ("zalopay", 200, '{"return_code":7}', "7", "return_code 7: ZaloPay accepts only 1 and 2"),
    ("zalopay", 200, '{"return_code":true}', None, "not a JSON object with a return_code"),
    ("zalopay", 200, "OK", None, "not a JSON object with a return_code"),
    ("zalopay", 200, "[" * 100_000, None, "not a JSON object with a return_code"),
    ("vnpay", 200, '{"RspCode":"97"}', "97", "RspCode 97: the service rejected the signature"),
    ("vnpay", 200, '{"RspCode":0}', "0", "RspCode 0: VNPay accepts only 00 and 02"),
    ("vnpay", 500, '{"RspCode":"00"}', "00", "HTTP 500 Internal Server Error: the service failed"),
    ("momo", 404, "", None, "HTTP 404 Not Found: the service has nothing at this path"),
    ("momo", 302, "", None, "HTTP 302 Found: the service redirects"),
    ("payos", 418, "", None, "HTTP 418 I'm a Teapot: the service did not accept the request"),
    ("payos", 799, "", None, "HTTP 799: not a success status"),
]
"""Replies of a service that a gateway does not accept as an acknowledgement."""


@pytest.mark.parametrize(("name", "status", "body", "code", "words"), NOT_ACKNOWLEDGED)
def test_a_reply_that_does_not_acknowledge_says_why(name, status, body, code, words):
    """If a reply is not an acknowledgement, the reason gives the HTTP status or the gateway's code, and its meaning."""
    found = judge_reply(GATEWAYS[name].reply_code, status, body)
    assert (found.acknowledged, found.code) == (False, code)
    assert words in found.why
