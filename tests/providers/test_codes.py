"""Test the gateways' result codes against their documentation."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.domain.callback import IgnoredBecause, Outcome
from ticketbottle_payctl.providers import momo_codes, vnpay_codes

MOMO = {
    Outcome.COMPLETED: [0],
    Outcome.CANCELLED: [1003, 1005, 1006, 1017],
    Outcome.FAILED: [98, 99, 1001, 1002, 1004, 1007, 1026, 2019, 4001, 4002, 4100],
    IgnoredBecause.PENDING: [10, 11, 12, 13, 20, 21, 22, 40, 41, 42, 43, 45, 47, 1000, 7000, 7002, 8000, 9000],
    IgnoredBecause.REFUND: [1080, 1081, 1088],
}


@pytest.mark.parametrize(("result", "codes"), MOMO.items())
def test_each_documented_code_of_momo_has_its_meaning(result, codes):
    """Among the MoMo codes from -1 to 10,000, exactly the documented ones have the given meaning."""
    wanted = (result, None) if isinstance(result, Outcome) else (Outcome.IGNORED, result)
    assert [code for code in range(-1, 10_001) if momo_codes.meaning(code) == wanted] == codes


@pytest.mark.parametrize(
    ("response", "status", "outcome", "because"),
    [
        ("00", "00", Outcome.COMPLETED, None),
        ("24", "02", Outcome.CANCELLED, None),
        ("11", "00", Outcome.CANCELLED, None),
        ("51", "02", Outcome.FAILED, None),
        ("00", "02", Outcome.FAILED, None),
        ("07", "00", Outcome.IGNORED, IgnoredBecause.HELD),
        ("00", "07", Outcome.IGNORED, IgnoredBecause.HELD),
        ("00", "01", Outcome.IGNORED, IgnoredBecause.PENDING),
        ("00", "05", Outcome.IGNORED, IgnoredBecause.REFUND),
        ("00", "03", Outcome.IGNORED, IgnoredBecause.UNDOCUMENTED),
        ("01", "00", Outcome.IGNORED, IgnoredBecause.UNDOCUMENTED),
        ("01", "03", Outcome.IGNORED, IgnoredBecause.UNDOCUMENTED),
    ],
)
def test_vnpay_s_two_codes_are_read_together(response, status, outcome, because):
    """A payment is paid only if VNPay's response code and transaction status are both 00."""
    assert vnpay_codes.meaning(response, status) == (outcome, because)
