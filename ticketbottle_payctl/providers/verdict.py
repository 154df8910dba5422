"""Combine a gateway's checks into one of three results: genuine, genuine but unclear, or not genuine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ticketbottle_payctl.domain.callback import Callback, Rejected, RejectReason, Unclear, UnclearReason
from ticketbottle_payctl.providers.payload import MalformedError, printable

Proven = TypeVar("Proven")


class NotGenuineError(Exception):
    """The callback is not from the gateway, or not for this merchant. ``detail`` contains nothing that was received."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class AmbiguousError(MalformedError):
    """The signed text can also be read as a callback with another order, amount or outcome."""


def judge(
    gateway: str, prove: Callable[[], Proven], read: Callable[[Proven], Callback], order_of: Callable[[Proven], object]
) -> Callback | Unclear | Rejected:
    """Verify a callback with ``prove``, then read it with ``read``. Never raises the errors of these functions.

    If ``prove`` raises NotGenuineError or MalformedError, the callback is rejected and not stored. If ``read`` raises
    MalformedError or AmbiguousError, the signature is valid, so the callback is unclear. It is stored, and a person or
    the status query decides. ``order_of`` returns the order if it can be read.
    """
    try:
        proven = prove()
    except NotGenuineError as error:
        return Rejected(gateway, error.reason, error.detail)
    except MalformedError as error:
        return Rejected(gateway, RejectReason.MALFORMED, error.detail)
    try:
        return read(proven)
    except NotGenuineError as error:
        return Rejected(gateway, error.reason, error.detail)
    except MalformedError as error:
        reason = UnclearReason.AMBIGUOUS if isinstance(error, AmbiguousError) else UnclearReason.UNREADABLE
        return Unclear(gateway, reason, error.detail, printable(order_of(proven)))
