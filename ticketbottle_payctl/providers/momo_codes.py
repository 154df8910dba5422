"""Classify MoMo's result codes, for callbacks and for status queries.

Source: developers.momo.vn v3, "Result codes", columns "Result code" and "Final Status". Only the Vietnamese page lists
code 8000.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.callback import IgnoredBecause, Outcome

Meaning = tuple[Outcome, IgnoredBecause | None]

_PENDING: Meaning = (Outcome.IGNORED, IgnoredBecause.PENDING)
_REFUND: Meaning = (Outcome.IGNORED, IgnoredBecause.REFUND)
_UNDOCUMENTED: Meaning = (Outcome.IGNORED, IgnoredBecause.UNDOCUMENTED)

_MEANINGS: dict[int, Meaning] = {
    0: (Outcome.COMPLETED, None),
    # Final: cancelled by MoMo or the merchant, link expired, declined by the customer, cancelled by the merchant.
    **dict.fromkeys((1003, 1005, 1006, 1017), (Outcome.CANCELLED, None)),
    # Final: the payment failed.
    **dict.fromkeys((98, 99, 1001, 1002, 1004, 1007, 1026, 2019, 4001, 4002, 4100), (Outcome.FAILED, None)),
    # Not final: waiting for the customer, being processed, or authorised and not captured.
    **dict.fromkeys((1000, 7000, 7002, 8000, 9000), _PENDING),
    # Not final: MoMo did not process the request. The payment may still be paid.
    **dict.fromkeys((10, 11, 12, 13, 20, 21, 22, 40, 41, 42, 43, 45, 47), _PENDING),
    # Final results of a refund, not of a payment. A refused refund does not change the payment.
    **dict.fromkeys((1080, 1081, 1088), _REFUND),
}


def meaning(code: int) -> Meaning:
    """Return the payment's result for a code.

    If the code does not settle the payment, return IGNORED and the reason.
    """
    return _MEANINGS.get(code, _UNDOCUMENTED)
