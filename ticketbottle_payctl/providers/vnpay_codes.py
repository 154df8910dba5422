"""Classify VNPay's codes, for callbacks and for status queries.

Sources: sandbox.vnpayment.vn/apis/docs, "Thanh toán PAY", tables "vnp_ResponseCode" and "vnp_TransactionStatus", and
"querydr & refund", table "vnp_TransactionStatus".
"""

from __future__ import annotations

from ticketbottle_payctl.domain.callback import IgnoredBecause, Outcome

PAID = "00"

_CANCELLED = frozenset({"11", "24"})
"""The response codes of payments that expired or that the customer cancelled."""

_FAILED = frozenset({"09", "10", "12", "13", "51", "65", "75", "79", "99"})
"""The response codes of final failures, in which the bank did not take any money."""

_RESPONSES = _CANCELLED | _FAILED | {PAID}

_NOT_FINAL = {
    "01": IgnoredBecause.PENDING,
    "04": IgnoredBecause.HELD,
    "05": IgnoredBecause.REFUND,
    "06": IgnoredBecause.REFUND,
    "07": IgnoredBecause.HELD,
    "09": IgnoredBecause.REFUND,
}
"""The statuses that do not settle the payment, each with the reason.

04: the bank has charged the customer, but VNPay has not finished. 07: VNPay suspects fraud.
"""

_STATUS_FAILED = "02"


def meaning(response: str, status: str) -> tuple[Outcome, IgnoredBecause | None]:
    """Return the payment's result for the two codes.

    If the codes do not settle the payment, return IGNORED and the reason. The payment is paid only if both codes are
    00. If either code is 07, VNPay has the money but blocks it. Undocumented codes never settle a payment.
    """
    if response == status == PAID:
        return Outcome.COMPLETED, None
    if "07" in {response, status}:
        return Outcome.IGNORED, IgnoredBecause.HELD
    if status in _NOT_FINAL:
        return Outcome.IGNORED, _NOT_FINAL[status]
    if status not in {PAID, _STATUS_FAILED} or response not in _RESPONSES:
        return Outcome.IGNORED, IgnoredBecause.UNDOCUMENTED
    return Outcome.CANCELLED if response in _CANCELLED else Outcome.FAILED, None
