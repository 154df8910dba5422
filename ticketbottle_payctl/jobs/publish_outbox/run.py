"""A whole run: visit the shards until they are empty, or stay until told to stop.

Outside of a visit nothing is open: every wait (for work, for a broker, for a database) happens without a
transaction, and a stop that is asked for meanwhile ends it at once.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

from sqlalchemy import Engine
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.retry import error_text
from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError, PayctlError, UnavailableError
from ticketbottle_payctl.jobs.publish_outbox.lane import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.report import PublishOptions, PublishReport, StoppedBecause, Tally
from ticketbottle_payctl.jobs.publish_outbox.shard import Context, Sent, Shard
from ticketbottle_payctl.store import outbox
from ticketbottle_payctl.store.engine import transaction

_PROBE_TIMEOUT = 10.0
_LOCKED_PATIENCE = 2.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_PASSING = (UnavailableError, BrokerRefusedError)


@dataclass(frozen=True, slots=True)
class Observer:
    """Who wants to hear of a run while it lasts. Called between transactions, on the run's own thread."""

    ready: Callable[[], None] = lambda: None
    batch: Callable[[Tally], None] = lambda _tally: None
    waiting: Callable[[PayctlError, float], None] = lambda _error, _seconds: None


@dataclass(slots=True)
class Run:
    """One run, from the first probe of the broker to the report. All that must survive it is in the database."""

    engine: Engine
    producer: Producer
    options: PublishOptions
    stop: Event
    observer: Observer
    clock: Callable[[], float] = time.monotonic
    tally: Tally = field(default_factory=Tally)
    _shards: list[Shard] = field(default_factory=list)
    _stopped_types: dict[str, Failure] = field(default_factory=dict)
    _began: float = 0.0

    def to_the_end(self) -> PublishReport:
        """Run, and report; raises only where there is no database to report on, or payctl has a bug."""
        self._began = self.clock()
        failure: PayctlError | None = None
        with ThreadPoolExecutor(1, "payctl-claim") as pool, _rare_garbage_collection():
            context = self._context(pool)
            self._shards = [Shard(context, number) for number in range(self.options.shards)]
            try:
                reason = self._loop() if self.options.loop else self._once()
            except (BrokerUnavailableError, BrokerRefusedError) as error:
                failure, reason = error, StoppedBecause.BROKER_UNAVAILABLE
        return PublishReport(self.tally, reason, self.clock() - self._began, self._oldest_pending(), failure)

    def _context(self, pool: ThreadPoolExecutor) -> Context:
        return Context(
            engine=self.engine,
            producer=self.producer,
            options=self.options,
            owner=f"{socket.gethostname()}:{os.getpid()}:{random.getrandbits(48):012x}",
            may_go_on=lambda batches: self._must_stop(batches) is None,
            committed=self._committed,
            probe=self._probe,
            stopping=self.stop.is_set,
            pool=pool,
            stopped_types=self._stopped_types,
            clock=self.clock,
        )

    def _once(self) -> StoppedBecause:
        self._probe()
        self.observer.ready()
        return self._passes()

    def _loop(self) -> StoppedBecause:
        """As once, but a dependency that is away is waited for: 0.5 to 30 s with jitter, without a claim."""
        ready = False
        while True:
            try:
                if not ready:
                    self._probe()
                    self.observer.ready()
                    ready = True
                return self._passes()
            except _PASSING as error:
                reason = self._wait_until_back(error)
                if reason is not None:
                    return reason

    def _passes(self) -> StoppedBecause:
        pause = _SHORTEST_PAUSE
        locked_since: float | None = None
        while (reason := self._must_stop()) is None:
            before = self.tally.decided
            entered = self._pass()
            if self.tally.decided > before:
                pause, locked_since = _SHORTEST_PAUSE, None
                continue
            if not self.options.loop:
                if entered:
                    return self._must_stop() or StoppedBecause.EMPTY
                locked_since = locked_since or self.clock()
                if self.clock() - locked_since > _LOCKED_PATIENCE:
                    return StoppedBecause.LOCKED
            self._sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - not for secrets
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return reason

    def _pass(self) -> bool:
        """Visit each shard once, in an order of chance; whether any of them was ours to visit."""
        order = random.sample(self._shards, len(self._shards))
        visited = [shard.visit() for shard in order if self._must_stop() is None]
        return any(visited)

    def _committed(self, sent: Sent) -> None:
        outcome, tally = sent.outcome, self.tally
        tally.batches += 1
        tally.claimed += sent.claimed
        tally.published_by_type.update(outcome.published)
        tally.retried += outcome.retried + outcome.unsent
        tally.held += outcome.held
        tally.dead_events += outcome.dead
        for event_type, failure in outcome.stopped.items():
            tally.stopped_types[event_type] = error_text(failure.code, failure.reason)
        self.observer.batch(tally)
        if self.options.rate is not None:
            self._sleep(self._began + tally.published / self.options.rate - self.clock())

    def _must_stop(self, coming: int = 0) -> StoppedBecause | None:
        """Why the run may not do ``coming`` batches more, counted from what is committed; None where it may."""
        if self.stop.is_set():
            return StoppedBecause.SIGNAL
        if self.options.max_batches is not None and self.tally.batches + max(coming, 1) > self.options.max_batches:
            return StoppedBecause.MAX_BATCHES
        if self._time_left() <= 0:
            return StoppedBecause.DEADLINE
        return None

    def _time_left(self) -> float:
        if self.options.budget is None:
            return float("inf")
        return self._began + self.options.budget.total_seconds() - self.clock()

    def _sleep(self, seconds: float) -> None:
        """Wait, but not past a stop, a retry that comes due, or the run's own end."""
        dues = [shard.cursor.next_due() for shard in self._shards]
        soonest = min((due - self.clock() for due in dues if due is not None), default=seconds)
        self.stop.wait(max(0.001, min(seconds, self._time_left(), soonest)))

    def _probe(self) -> None:
        """See that the brokers answer, and which event types cannot flow, so that no message waits for them."""
        stopped = self.producer.probe(_PROBE_TIMEOUT, self.stop.is_set)
        self._stopped_types.clear()
        self._stopped_types.update(stopped)

    def _wait_until_back(self, error: PayctlError) -> StoppedBecause | None:
        """Probe until both dependencies answer. A run that must end while they are away ends with their error."""

        def still_away(_state: RetryCallState) -> bool:
            return self._must_stop() is not None

        retrying = Retrying(
            retry=retry_if_exception_type(_PASSING),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            sleep=self._sleep_outside,
            stop=still_away,
            before_sleep=lambda state: self.observer.waiting(error, state.upcoming_sleep),
            reraise=True,
        )
        try:
            retrying(self._both_answer)
        except _PASSING:
            reason = self._must_stop()
            if reason is StoppedBecause.SIGNAL:
                return reason
            raise
        return None

    def _sleep_outside(self, seconds: float) -> None:
        self.stop.wait(min(seconds, max(0.0, self._time_left())))

    def _both_answer(self) -> None:
        self._oldest_pending()
        self._probe()

    def _oldest_pending(self) -> float | None:
        with transaction(self.engine, LIMITS, commit=False) as connection:
            return outbox.oldest_pending(connection, self.options.max_retries)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """A batch is tens of thousands of small tuples without cycles; looking for cycles in them costs a third."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
