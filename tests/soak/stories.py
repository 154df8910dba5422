"""Define the gateway's callbacks for a customer's payment and the payment's expected final state."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, scenarios
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

UNPAID = {Scenario.FAILED: "FAILED", Scenario.CANCELLED: "CANCELLED", Scenario.EXPIRED: "CANCELLED"}
IGNORED = {
    Scenario.PENDING: "pending",
    Scenario.HELD: "held",
    Scenario.AGREEMENT: "agreement",
    Scenario.PING: "ping",
}
SETTLES = frozenset({"settled", "already_settled"})


@dataclass(frozen=True, slots=True)
class Sending:
    """A callback that is sent after ``after`` seconds, as ``copies`` simultaneous copies.

    The copies are sent again until one of them gets a final reply.

    ``results`` contains the results that the callback's receipt can have. A forgery has no results and is sent once.
    """

    gateway: str
    request: Request = field(repr=False)
    results: frozenset[str]
    after: float = 0.0
    copies: int = 1

    @property
    def genuine(self) -> bool:
        """Whether the merchant's key signed the callback."""
        return bool(self.results)


@dataclass(frozen=True, slots=True)
class Story:
    """A payment's callbacks, the payment's final state, and the state that its gateway reports in a status query.

    ``exists`` is false if the payment service never stored the payment.
    """

    sends: list[Sending]
    ends: str
    at_gateway: str = "pending"
    exists: bool = True


def story(
    chance: random.Random, payment: SandboxPayment, keys: Mapping[str, str], accounts: Mapping[str, str]
) -> Story:
    """Draw a story for a new payment."""
    told = _Teller(chance, payment, keys, accounts)
    made = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0](told)
    forged = [told.forged(chance.uniform(0, 2)) for _ in range(chance.choice((0, 0, 0, 1, 2)))]
    return replace(made, sends=[*made.sends, *forged])


@dataclass(frozen=True, slots=True)
class _Teller:
    chance: random.Random
    payment: SandboxPayment
    keys: Mapping[str, str]
    accounts: Mapping[str, str]

    @property
    def gateway(self) -> str:
        return self.payment.provider.lower()

    def paid(self) -> Story:
        """Return a story in which the gateway reports the payment, sometimes several times at once or again later."""
        return Story(
            [self.send(Scenario.PAID, SETTLES, copies=self.chance.choice((1, 1, 3))), *self.again()], "COMPLETED"
        )

    def paid_and_asked(self) -> Story:
        """Return a story in which the callback and the response to a query report the same payment."""
        return Story([self.send(Scenario.PAID, SETTLES, after=self.chance.uniform(3, 8))], "COMPLETED", "paid")

    def lost(self) -> Story:
        """Return a story in which the callback is lost, so that only a status query reports the payment."""
        return Story([], "COMPLETED", "paid")

    def unpaid(self) -> Story:
        """Return a story in which the payment fails or is cancelled."""
        scenario = self._unpaid()
        if scenario is None:
            return self.paid()
        return Story([self.send(scenario, SETTLES, copies=self.chance.choice((1, 2)))], UNPAID[scenario])

    def late_money(self) -> Story:
        """Return a story in which the payment fails but the money arrives later."""
        scenario = self._unpaid()
        if scenario is None:
            return self.paid()
        failed = self.send(scenario, SETTLES | {"contradicts_completed"}, copies=self.chance.choice((1, 2)))
        return Story([failed, self.send(Scenario.PAID, SETTLES, after=self.chance.uniform(0, 15))], "COMPLETED")

    def contradicted(self) -> Story:
        """Return a story in which the gateway reports a failure after the success."""
        scenario = self._unpaid()
        if scenario is None:
            return self.paid()
        failed = self.send(scenario, SETTLES | {"contradicts_completed"}, after=self.chance.uniform(0, 3))
        return Story([self.send(Scenario.PAID, SETTLES), failed], "COMPLETED")

    def wrong_amount(self) -> Story:
        """Return a story in which the callback's amount differs from the payment's, so the payment does not change."""
        return Story([self.send(Scenario.WRONG_AMOUNT, frozenset({"wrong_amount"}))], "PENDING")

    def ignored(self) -> Story:
        """Return a story in which the gateway reports a state that is not final, if it ever reports such a state."""
        possible = [one for one in scenarios(self.gateway) if one in IGNORED]
        if not possible:
            return self.paid()
        scenario = self.chance.choice(possible)
        return Story([self.send(scenario, frozenset({IGNORED[scenario], "test_ping"}))], "PENDING")

    def unknown(self) -> Story:
        """Return a story in which the payment is not in the database."""
        return Story([self.send(Scenario.PAID, frozenset({"unknown_order"}))], "PENDING", exists=False)

    def again(self) -> list[Sending]:
        if self.chance.random() < 0.6:
            return []
        return [self.send(Scenario.PAID, SETTLES, after=self.chance.uniform(0, 10))]

    def send(self, scenario: Scenario, results: frozenset[str], *, after: float = 0.0, copies: int = 1) -> Sending:
        request = callback(self.payment, scenario, self.keys)
        if self.gateway == "payos" and scenario is not Scenario.PING:
            data = json.loads(request.body)["data"] | self.accounts
            request = signing.payos(data, self.keys["PAYOS_CHECKSUM_KEY"])
        return Sending(self.gateway, request, results, after, copies)

    def forged(self, after: float) -> Sending:
        """Return a callback with a wrong signature, or a genuine callback with a changed amount or reference."""
        kind = self.chance.randrange(3)
        if kind == 0:
            request = callback(self.payment, Scenario.BAD_SIGNATURE, self.keys)
        else:
            request = callback(self.payment, Scenario.PAID, self.keys)
            old = str(self.payment.amount) if kind == 1 else self.payment.reference
            new = old[:-1] + ("1" if old[-1] != "1" else "2")
            request = replace(
                request, query=request.query.replace(old, new), body=request.body.replace(old.encode(), new.encode())
            )
        return Sending(self.gateway, request, frozenset(), after)

    def _unpaid(self) -> Scenario | None:
        """Return a scenario for an unpaid payment, or None.

        ZaloPay does not report unpaid payments, and PayOS reports only failures.
        """
        possible = [one for one in scenarios(self.gateway) if one in UNPAID]
        return self.chance.choice(possible) if possible else None


_WEIGHTS: dict[Callable[[_Teller], Story], int] = {
    _Teller.paid: 36,
    _Teller.paid_and_asked: 10,
    _Teller.lost: 12,
    _Teller.unpaid: 8,
    _Teller.late_money: 16,
    _Teller.contradicted: 6,
    _Teller.wrong_amount: 5,
    _Teller.ignored: 4,
    _Teller.unknown: 3,
}
