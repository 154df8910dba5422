"""Define a forged callback for each gateway.

The format is right, so payctl can recognise the forgery only with the gateway's key.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.callback import Answer, Request
from ticketbottle_payctl.providers import GATEWAYS

REFUSED, OFF, FAILED = "refused", "not_configured", "failed"

USER_AGENT = "payctl-probe"
"""The probe's user agent. The webhook uses it to count the probe's forged callbacks separately."""

FORGERIES = {
    "zalopay": Request("POST", "/webhook/zalopay", body=b'{"data":"{}","mac":"00","type":1}'),
    "payos": Request("POST", "/webhook/payos", body=b'{"code":"00","data":{"orderCode":0},"signature":"00"}'),
    "vnpay": Request("GET", "/webhook/vnpay", query="vnp_TmnCode=probe&vnp_TxnRef=probe&vnp_SecureHash=00"),
    "momo": Request(
        "POST",
        "/webhook/momo",
        body=(
            b'{"partnerCode":"probe","orderId":"probe","requestId":"probe","amount":1,"orderInfo":"","orderType":"",'
            b'"transId":1,"resultCode":0,"message":"","payType":"","responseTime":1,"extraData":"","signature":"00"}'
        ),
    ),
}
"""A forged callback for each gateway. No key can produce the signature in the callback."""


def headers(name: str) -> dict[str, str]:
    """Return a forged callback's headers: the probe's user agent, and the content type of the gateway's callbacks."""
    return {"user-agent": USER_AGENT, "content-type": GATEWAYS[name].content_type}


def judged(name: str, status: object, body: object) -> str:
    """Return the verdict on the reply to a forged callback. Any reply other than the two expected ones is a failure."""
    for answer, verdict in ((Answer.BAD_SIGNATURE, REFUSED), (Answer.NOT_CONFIGURED, OFF)):
        expected = GATEWAYS[name].reply(answer)
        if (status, body) == (expected.status, expected.body):
            return verdict
    return FAILED
