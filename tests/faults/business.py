"""Run customers and publishers during a fault.

The customers' gateways repeat each callback until payctl replies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Lock, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.checker import Verdict, judge, rows_of
from tests.checker.audit import read
from tests.checker.payments import PaymentFaults, judge_payments, states_of
from tests.checker.receipts import ReceiptFaults, digest, judge_receipts, receipts_of
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.jobs.process_webhook import process_webhook
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, PublishReport, publish_outbox
from ticketbottle_payctl.providers import by_name, credentials
from ticketbottle_payctl.sandbox.callbacks import callback, environment
from ticketbottle_payctl.sandbox.kafka_messages import read_all
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, insert_payment
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import KafkaSettings

TOPICS = ("payment.completed", "payment.failed", "payment.cancelled")
ZALOPAY = by_name("zalopay")
KEYS = credentials(ZALOPAY, lambda name: (Secret(environment()[name]),))
RESULTS = {"settled", "already_settled"}
AGAIN_AFTER = 0.05


@dataclass
class Business:
    """Payments, their callbacks, and the replies to the gateways. ``engine`` is the database engine for all of them."""

    engine: Engine
    bootstrap: str
    pause: float = 0
    """The pause, in seconds, before a customer pays again.

    In a long outage, customers without a pause would use up the machine's CPU time.
    """
    sent: dict[bytes, set[str]] = field(default_factory=dict)
    answered: set[bytes] = field(default_factory=set)
    reported: dict[str, str] = field(default_factory=dict)
    payments: list[SandboxPayment] = field(default_factory=list)
    failures: list[UnavailableError] = field(default_factory=list)
    """The errors from callbacks that the gateways will repeat."""
    refused: int = 0
    """The count of payments that the database failed to store."""
    reports: list[PublishReport] = field(default_factory=list)
    waits: list[UnavailableError] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def pay(self, stop: Event) -> None:
        """Create a payment. Repeat its callback, as the gateway does, until payctl replies or ``stop`` is set."""
        try:
            with self.engine.begin() as connection:
                payment = insert_payment(connection)
        except DBAPIError:
            self.refused += 1
            stop.wait(AGAIN_AFTER)
            return
        request = callback(payment)
        with self._lock:
            self.payments.append(payment)
            self.sent[digest(request)] = RESULTS
        while not self._called(request):
            if stop.wait(AGAIN_AFTER):
                return
        with self._lock:
            self.answered.add(digest(request))
            self.reported[payment.id] = "COMPLETED"

    def insert(self, number: int, *, age: timedelta) -> list[SandboxPayment]:
        """Insert payments whose gateways have not called back yet."""
        with self.engine.begin() as connection:
            made = [insert_payment(connection, age=age) for _ in range(number)]
        self.payments += made
        self.sent |= {digest(callback(payment)): RESULTS for payment in made}
        return made

    def call_again(self) -> None:
        """Repeat every callback that has not got a reply yet, as the gateways do."""
        for payment in self.payments:
            if payment.id not in self.reported:
                assert self._called(callback(payment)), self.failures[-1]
                self.answered.add(digest(callback(payment)))
                self.reported[payment.id] = "COMPLETED"

    def _called(self, request) -> bool:
        try:
            process_webhook(self.engine, request, ZALOPAY, KEYS)
        except UnavailableError as error:
            with self._lock:
                self.failures.append(error)
            return False
        return True

    @contextmanager
    def running(self, customers: int = 4, publishers: int = 1) -> Iterator[None]:
        """Run customers and publishers during the ``with`` block.

        After the block, publish until no event is pending.
        """
        closed, stop = Event(), Event()

        def buy() -> None:
            while not closed.is_set():
                self.pay(closed)
                closed.wait(self.pause)

        threads = [Thread(target=buy) for _ in range(customers)]
        publishing = [Thread(target=self._publish, args=(stop,)) for _ in range(publishers)]
        for thread in (*threads, *publishing):
            thread.start()
        try:
            yield
        finally:
            closed.set()
            for thread in threads:
                thread.join()
            try:
                self.call_again()
                wait_until(lambda: not self.pending(), what="the outbox is drained", timeout=60, pause=0.05)
            finally:
                stop.set()
                for thread in publishing:
                    thread.join()

    def pending(self) -> int:
        """Return the count of unpublished events."""
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM outbox WHERE NOT published").scalar_one())

    def wait_for(self, answers: int) -> None:
        """Wait until this many more callbacks have a reply."""
        wanted = len(self.answered) + answers
        wait_until(lambda: len(self.answered) >= wanted, what=f"{answers} more answers", timeout=60, pause=0.02)

    def verdict(self) -> Verdict:
        """Check the payments and the receipts. Return the verdict on the messages."""
        noted, states = read(self.engine), states_of(self.engine)
        assert judge_payments(noted, states, self.reported) == PaymentFaults()
        receipts = receipts_of(self.engine)
        found = judge_receipts(receipts, noted, states, sent=self.sent, answered=self.answered, forged={})
        assert found == ReceiptFaults()
        return judge(rows_of(self.engine), read_all(self.bootstrap, TOPICS))

    def _publish(self, stop: Event) -> None:
        producer = Producer(producer_config(KafkaSettings(self.bootstrap)))
        while not stop.is_set():
            try:
                options = PublishOptions(loop=True, batch_size=20)
                self.reports.append(publish_outbox(self.engine, producer, options, stop=stop))
            except UnavailableError as error:
                self.waits.append(error)
                stop.wait(AGAIN_AFTER)
        producer.close()
