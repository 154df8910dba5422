"""Simulate customers and their gateways with threads that create payments and send callbacks to webhook processes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from http.client import HTTPConnection, HTTPException
from itertools import count
from string import ascii_uppercase, digits
from threading import Event, Lock, Thread
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.checker.receipts import digest
from tests.soak.stories import Sending, Story, story
from tests.stand_ins import Gateways
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, insert_payment

REFERENCES: dict[str, Callable[[random.Random, str], str]] = {
    "zalopay": lambda _, code: f"261129_{code}",
    "payos": lambda chance, _: UUID(int=chance.getrandbits(128)).hex,
    "vnpay": lambda chance, _: str(chance.randrange(10**14, 10**15)),
    "momo": lambda _, code: f"TB-SOAK-20261129-{code}",
}
"""For each gateway, the function that makes a payment's reference from a random source and the order's code."""

REPLY_WITHIN = 12.0
"""The time, in seconds, that a gateway waits for a reply."""
_AGAIN_AFTER = 1.0


class Reply(NamedTuple):
    """A reply to a callback. ``final`` is true if the gateway does not call again.

    ``accepted`` is true if payctl accepted the callback as genuine.
    """

    final: bool
    accepted: bool


NO_REPLY = Reply(final=False, accepted=False)


class Ledger:
    """All customers' callbacks and the expected results, for the checker."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.reported: dict[str, str] = {}
        self.sent: dict[bytes, set[str]] = {}
        self.answered: set[bytes] = set()
        self.forged: dict[bytes, bool] = {}
        self.requests = 0

    def note(self, sending: Sending, reply: Reply) -> None:
        """Record a reply, or record that no reply came."""
        key = digest(sending.request)
        with self.lock:
            self.requests += 1
            if not sending.genuine:
                self.forged[key] = self.forged.get(key, False) or reply.accepted
                return
            self.sent.setdefault(key, set()).update(sending.results)
            if reply.final:
                self.answered.add(key)


class Customer(Thread):
    """A thread that creates payments and sends their callbacks as the gateways would."""

    def __init__(
        self,
        engine: Engine,
        number: int,
        seed: int,
        rate: float,
        ports: list[int],
        ledger: Ledger,
        gateways: Gateways,
        keys: dict[str, str],
        accounts: dict[str, str],
        pace: float = 1.0,
    ) -> None:
        super().__init__(daemon=True)
        self.engine, self.rate, self.ports, self.ledger = engine, rate, ports, ledger
        self.gateways, self.keys, self.accounts = gateways, keys, accounts
        self.pace = pace
        self.chance = random.Random(f"{seed}/customer {number}")  # noqa: S311 - not for secrets
        self.stop = Event()
        self._due: list[tuple[float, int, Sending]] = []
        self._order = count()

    def run(self) -> None:
        """Create payments until ``stop`` is set. Then wait until every genuine callback has a final reply."""
        next_one = time.monotonic()
        while not self.stop.is_set() or self._due:
            now = time.monotonic()
            if now >= next_one and not self.stop.is_set():
                next_one = now + self.chance.expovariate(self.rate)
                with suppress(DBAPIError):
                    self._pay()
            while self._due and self._due[0][0] <= time.monotonic():
                self._send(heappop(self._due)[2])
            time.sleep(0.01)

    def _pay(self) -> None:
        payment = self._payment()
        told = story(self.chance, payment, self.keys, self.accounts)
        if told.exists:
            self._insert(payment, told)
        for sending in told.sends:
            self._later(sending, sending.after * self.pace)

    def _insert(self, payment: SandboxPayment, told: Story) -> None:
        with self.engine.begin() as connection:
            insert_payment(
                connection,
                id=payment.id,
                order_code=payment.order_code,
                amount=payment.amount,
                provider=payment.provider,
                reference=payment.reference,
            )
        self.ledger.reported[payment.id] = told.ends
        self.gateways.amounts[payment.reference] = payment.amount
        self.gateways.states[payment.reference] = told.at_gateway

    def _payment(self) -> SandboxPayment:
        chance = self.chance
        code = "".join(chance.choices(ascii_uppercase + digits, k=8))
        gateway = chance.choice(tuple(GATEWAYS))
        reference = REFERENCES[gateway](chance, code)
        return SandboxPayment(
            id=str(UUID(int=chance.getrandbits(128))),
            order_code=f"TB-SOAK-20261129-{code}",
            amount=chance.randrange(10, 999) * 1000,
            provider=gateway.upper(),
            reference=reference,
        )

    def _later(self, sending: Sending, seconds: float) -> None:
        heappush(self._due, (time.monotonic() + seconds, next(self._order), sending))

    def _send(self, sending: Sending) -> None:
        """Send all copies at the same time to different processes.

        If no copy gets a final reply, send all copies again later.
        """
        replies: list[Reply] = []
        threads = [
            Thread(target=lambda n=n: replies.append(self._post(sending, self.ports[n % len(self.ports)])), daemon=True)
            for n in range(sending.copies)
        ]
        self.chance.shuffle(self.ports)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for reply in replies:
            self.ledger.note(sending, reply)
        if sending.genuine and not any(reply.final for reply in replies):
            self._later(sending, _AGAIN_AFTER)

    @staticmethod
    def _post(sending: Sending, port: int) -> Reply:
        request = sending.request
        connection = HTTPConnection("127.0.0.1", port, timeout=REPLY_WITHIN)
        try:
            target = f"{request.path}?{request.query}" if request.query else request.path
            connection.request(request.method, target, request.body or None)
            response = connection.getresponse()
            return read_reply(sending.gateway, response.status, response.read())
        except (OSError, HTTPException):
            return NO_REPLY
        finally:
            connection.close()


def read_reply(gateway: str, status: int, body: bytes) -> Reply:
    """Return how the gateway interprets a reply."""
    return REPLIES[gateway](status, body)


def _zalopay(status: int, body: bytes) -> Reply:
    code = json.loads(body)["return_code"] if status == 200 else 0
    return Reply(code != 0, code == 1)


def _vnpay(status: int, body: bytes) -> Reply:
    code = json.loads(body)["RspCode"] if status == 200 else "99"
    return Reply(code != "99", code not in {"97", "99"})


REPLIES: dict[str, Callable[[int, bytes], Reply]] = {
    "zalopay": _zalopay,
    "payos": lambda status, _: Reply(status < 500, 200 <= status < 300),
    "vnpay": _vnpay,
    "momo": lambda status, _: Reply(status < 500, status == 204),
}
"""For each gateway, the function that reads a reply as the gateway does."""
