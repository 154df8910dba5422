"""Combine a gateway's checks into one of three results: genuine, genuine but unclear, or not genuine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ticketbottle_payctl.domain.callback import Callback, OrderHint, Rejected, RejectReason, Unclear, UnclearReason
from ticketbottle_payctl.providers.payload import MalformedError, printable

Proven = TypeVar("Proven")


class NotGenuineError(Exception):
    """The callback is not from the gateway, or not for this merchant. ``detail`` never contains received content."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class AmbiguousError(MalformedError):
    """The signed text may also mean a callback with a different order, amount or outcome."""


class Named(NamedTuple):
    """The ids of a payment in a callback. The values are not checked, so they may have any type."""

    reference: object
    order_ref: object
    order_hint: OrderHint | None = None


def judge(
    gateway: str, prove: Callable[[], Proven], read: Callable[[Proven], Callback], names: Callable[[Proven], Named]
) -> Callback | Unclear | Rejected:
    """Verify a callback with ``prove``, then read its content with ``read``. Return errors as results.

    If ``prove`` raises NotGenuineError or MalformedError, the callback is rejected, and is not stored. If ``read``
    raises MalformedError or AmbiguousError, the signature is valid but the callback is unclear. ``names`` returns the
    ids of an unclear callback's payment, for the operator.
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
        named = names(proven)
        order, reference = printable(named.order_ref), printable(named.reference)
        return Unclear(gateway, reason, error.detail, order, reference, named.order_hint)
