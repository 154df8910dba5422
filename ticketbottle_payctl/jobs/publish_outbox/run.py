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
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.retry import error_text
from ticketbottle_payctl.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    DatabaseUnavailableError,
    PayctlError,
    UnavailableError,
)
from ticketbottle_payctl.jobs.publish_outbox.lane import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.report import PublishOptions, PublishReport, StoppedBecause, Tally
from ticketbottle_payctl.jobs.publish_outbox.shard import Context, Sent, Shard, Visit
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.telemetry import log_event
from ticketbottle_payctl.tracing import BatchSpan, batch_span

PROBE_EVERY = 30.0
"""How often the topics are looked at, in seconds: an event type that could not flow is tried again then."""

LOOK_FOR_LEADERS_EVERY = 2.0
"""The same while a partition has no leader: its payments wait for nothing else."""

_PROBE_TIMEOUT = 10.0
_LOCKED_PATIENCE = 2.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 6.0
"""Seconds between two looks for what is away. With a look itself no more than ten: so soon a backlog drains again."""

_AWAY = (UnavailableError, BrokerRefusedError)


@dataclass(frozen=True, slots=True)
class Observer:
    """Who wants to hear of a run while it lasts. Called on the run's own thread, which waits for the answer."""

    ready: Callable[[], None] = lambda: None
    alive: Callable[[Tally], None] = lambda _tally: None
    batch: Callable[[Tally], None] = lambda _tally: None
    waiting: Callable[[PayctlError, float], None] = lambda _error, _seconds: None
    span: BatchSpan = batch_span


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
    _probed: float | None = None
    _failures_in_a_row: int = 0
    _paced_until: float = 0.0

    def to_the_end(self) -> PublishReport:
        """Run, and report; what ended a run that had committed nothing yet is raised, unless it was the broker."""
        self._began = self.clock()
        failure: PayctlError | None = None
        with ThreadPoolExecutor(2, "payctl-claim") as pool, _rare_garbage_collection():
            context = self._context(pool)
            self._shards = [Shard(context, number) for number in range(self.options.shards)]
            try:
                reason = self._loop() if self.options.loop else self._once()
            except PayctlError as error:
                failure, reason = self._ended_by(error)
        report = PublishReport(self.tally, reason, self.clock() - self._began, self._oldest_pending_if_known(), failure)
        log_event("publish_outbox_ended", counts=self.tally.counts, **report.measures)
        return report

    def _ended_by(self, error: PayctlError) -> tuple[PayctlError | None, StoppedBecause]:
        if self.stop.is_set() and isinstance(error, _AWAY):
            return None, StoppedBecause.SIGNAL  # what was under way was cut short, and given back
        if isinstance(error, BrokerUnavailableError | BrokerRefusedError):
            return error, StoppedBecause.BROKER_UNAVAILABLE
        if not self.tally.batches:
            raise error
        if isinstance(error, DatabaseUnavailableError):
            return error, StoppedBecause.DATABASE_UNAVAILABLE
        return error, StoppedBecause.FAILED

    def _context(self, pool: ThreadPoolExecutor) -> Context:
        return Context(
            engine=self.engine,
            producer=self.producer,
            options=self.options,
            owner=f"{socket.gethostname()}:{os.getpid()}:{random.getrandbits(48):012x}",
            may_go_on=self._may_go_on,
            committed=self._committed,
            stopping=self._time_is_up,
            pool=pool,
            stopped_types=self._stopped_types,
            clock=self.clock,
            span=self.observer.span,
        )

    def _once(self) -> StoppedBecause:
        reason = self._must_stop()
        if reason is not None:
            return reason
        self._probe()
        self.observer.ready()
        return self._passes()

    def _loop(self) -> StoppedBecause:
        """As once, but a dependency that is away is waited for: a few seconds between two looks, without a claim."""
        ready = False

        def attempt() -> StoppedBecause:
            nonlocal ready
            reason = self._must_stop()
            if reason is not None:
                return reason
            self._oldest_pending()
            self._probe()
            if not ready:
                self.observer.ready()
                ready = True
            return self._passes()

        retrying = Retrying(
            retry=retry_if_exception_type(_AWAY),
            wait=self._next_wait,
            sleep=self._sleep_outside,
            stop=lambda _state: self._must_stop() is not None,
            before_sleep=self._tell,
            reraise=True,
        )
        return retrying(attempt)

    def _passes(self) -> StoppedBecause:
        pause = _SHORTEST_PAUSE
        locked_since: float | None = None
        while (reason := self._must_stop()) is None:
            if self._must_probe():
                self._probe()
            batches = self.tally.batches
            visits = self._pass()
            self._failures_in_a_row = 0
            if self.tally.batches > batches:
                pause, locked_since = _SHORTEST_PAUSE, None
            if Visit.MORE in visits:
                continue
            if not self.options.loop:
                if Visit.DRAINED in visits:
                    return self._must_stop() or StoppedBecause.EMPTY
                locked_since = locked_since or self.clock()
                if self.clock() - locked_since > _LOCKED_PATIENCE:
                    return StoppedBecause.LOCKED
            self._sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - not for secrets
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return reason

    def _pass(self) -> list[Visit]:
        """Visit each shard once, in an order of chance, so that two publishers do not chase each other."""
        order = random.sample(self._shards, len(self._shards))
        return [self._visit(shard) for shard in order if self._must_stop() is None]

    def _visit(self, shard: Shard) -> Visit:
        self.observer.alive(self.tally)
        return shard.visit()

    def _committed(self, sent: Sent) -> None:
        outcome, tally = sent.outcome, self.tally
        published = outcome.published
        self._failures_in_a_row = 0
        if outcome.surprised:
            self._probed = None
        tally.batches += 1
        tally.claimed += len(published) + len(outcome.put_back) - outcome.postponed
        tally.published_by_type.update(event.event_type for event in published)
        tally.retried += outcome.retried + outcome.unsent
        tally.held += outcome.held
        tally.died(outcome.dead)
        for event_type, failure in outcome.stopped.items():
            tally.stopped_types[event_type] = error_text(failure.code, failure.reason)
        sample = published[tally.lag.pick(len(published))]
        tally.lag.add((sent.acknowledged_at - event.created_at).total_seconds() for event in sample)
        self.observer.alive(tally)
        self.observer.batch(tally)
        self._keep_to_the_rate(len(published))

    def _must_stop(self, coming: int = 1) -> StoppedBecause | None:
        """Why the run may not do ``coming`` batches more, counted from what is committed; None where it may."""
        if self.stop.is_set():
            return StoppedBecause.SIGNAL
        if self.options.max_batches is not None and self.tally.batches + coming > self.options.max_batches:
            return StoppedBecause.MAX_BATCHES
        if self._time_left() <= 0:
            return StoppedBecause.DEADLINE
        return None

    def _may_go_on(self, batches: int) -> bool:
        """Within a visit: a leader that came back is not to be noticed at the visit's end only."""
        looks_first = self.producer.leaders.missing and self._must_probe()
        return self._must_stop(batches) is None and not looks_first

    def _time_is_up(self) -> bool:
        return self.stop.is_set() or self._time_left() <= 0

    def _time_left(self) -> float:
        if self.options.budget is None:
            return float("inf")
        return self._began + self.options.budget.total_seconds() - self.clock()

    def _keep_to_the_rate(self, published: int) -> None:
        """Time that went by unused is not made up for: an idle hour allows no burst."""
        if self.options.rate is not None:
            self._paced_until = max(self._paced_until, self.clock()) + published / self.options.rate
            self._sleep_outside(self._paced_until - self.clock())

    def _sleep(self, seconds: float) -> None:
        """Wait for work, but not past a retry that comes due."""
        dues = [shard.cursor.next_due() for shard in self._shards]
        soonest = min((due - self.clock() for due in dues if due is not None), default=seconds)
        self._sleep_outside(max(0.001, min(seconds, soonest)))

    def _sleep_outside(self, seconds: float) -> None:
        """Wait, but not past a stop or the run's own end."""
        self.stop.wait(max(0.0, min(seconds, self._time_left())))

    def _must_probe(self) -> bool:
        every = LOOK_FOR_LEADERS_EVERY if self.producer.leaders.missing else PROBE_EVERY
        return self._probed is None or self.clock() - self._probed >= every

    def _probe(self) -> None:
        """See that the brokers answer, and which event types cannot flow, so that no message waits for them."""
        stopped = self.producer.probe(min(_PROBE_TIMEOUT, self._time_left()), self._time_is_up)
        self._probed = self.clock()
        if self._stopped_types:
            for shard in self._shards:
                shard.forget()  # it holds payments back for types that may flow again
        self._stopped_types.clear()
        self._stopped_types.update(stopped)

    def _next_wait(self, _state: RetryCallState) -> float:
        """Half a second to six, doubling from failure to failure, with jitter; anew after a batch or pass went well."""
        self._failures_in_a_row += 1
        longest = min(_FIRST_WAIT * 2.0 ** min(self._failures_in_a_row, 10), _LONGEST_WAIT)
        return random.uniform(longest / 2, longest)  # noqa: S311 - not for secrets

    def _tell(self, state: RetryCallState) -> None:
        self.observer.alive(self.tally)  # waiting for a broker is what it should do: starting it anew would not help
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, PayctlError):
            self.observer.waiting(error, state.upcoming_sleep)

    def _oldest_pending(self) -> float | None:
        with transaction(self.engine, LIMITS, commit=False) as connection:
            return outbox.oldest_pending(connection, self.options.max_retries)

    def _oldest_pending_if_known(self) -> float | None:
        try:
            return self._oldest_pending()
        except PayctlError:
            return None


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """A batch is tens of thousands of small tuples without cycles; looking for cycles in them costs a third."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
