"""A whole run: drain the shards until they are empty, or in a loop until told to stop.

No transaction is open between two drains. So a run that waits for events, for a broker or for the database holds
nothing, and a stop ends the wait at once.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from threading import Event

from sqlalchemy import Engine
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.broker.sender import Sender
from ticketbottle_payctl.domain.retry import error_text
from ticketbottle_payctl.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    DatabaseUnavailableError,
    PayctlError,
    UnavailableError,
)
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog
from ticketbottle_payctl.jobs.publish_outbox.batch import BatchOutcome
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.jobs.publish_outbox.facts import StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.report import PublishCounts, PublishOptions, PublishReport
from ticketbottle_payctl.jobs.publish_outbox.shard import DrainResult, Shard
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.telemetry import log_event
from ticketbottle_payctl.tracing import BatchSpan, batch_span

_PROBE_TIMEOUT = 10.0
_LOCKED_PATIENCE = 2.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 6.0
"""The longest wait in seconds between two attempts to reach an unavailable service. An attempt included, it is no more
than ten, so a backlog drains again soon after an outage."""

_AWAY = (UnavailableError, BrokerRefusedError)


@dataclass(frozen=True, slots=True)
class Observer:
    """What a caller wants to be told while a run lasts. The run's own thread calls it, and waits for it to return."""

    on_ready: Callable[[], None] = lambda: None
    on_heartbeat: Callable[[PublishCounts], None] = lambda _counts: None
    on_progress: Callable[[PublishCounts], None] = lambda _counts: None
    on_wait: Callable[[PayctlError, float], None] = lambda _error, _seconds: None
    span: BatchSpan = batch_span


class Run:
    """One run, from the first probe of the broker to the report. What must survive it is in the database."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a run needs
        self,
        engine: Engine,
        producer: Producer,
        options: PublishOptions,
        stop: Event,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._options, self._observer, self._clock = engine, options, observer, clock
        self._budget = budget = Budget(options, stop, clock)
        self._sender = sender = Sender(producer, stopping=budget.is_over, clock=clock)
        self._counts = PublishCounts()
        self._owner = owner = f"{socket.gethostname()}:{os.getpid()}:{random.getrandbits(48):012x}"
        self.shards = [
            Shard(engine, sender, Backlog(options, number), budget, owner, observer.span)
            for number in range(options.shards)
        ]
        self._failures_in_a_row = 0
        self._paced_until = 0.0

    def run(self) -> PublishReport:
        """Run to the end and report.

        If nothing is committed yet, what ended the run is raised, unless it was the broker.
        """
        failure: PayctlError | None = None
        with _rare_garbage_collection():
            try:
                reason = self._loop() if self._options.loop else self._once()
            except PayctlError as error:
                failure, reason = self._ended_by(error)
        seconds = self._clock() - self._budget.began
        report = PublishReport(self._counts, reason, seconds, self._oldest_pending_if_known(), failure)
        self._sign_off(failure)
        log_event("publish_outbox_ended", counts=self._counts.by_name, **report.facts)
        return report

    def _sign_off(self, failure: PayctlError | None) -> None:
        """Note that this publisher has ended. If that fails, it counts as running for a minute and a half."""
        if not isinstance(failure, DatabaseUnavailableError):
            with suppress(PayctlError), transaction(self._engine, LIMITS) as connection:
                shard_lock.sign_off(connection, self._owner)

    def _ended_by(self, error: PayctlError) -> tuple[PayctlError | None, StoppedBecause]:
        if self._budget.stop.is_set() and isinstance(error, _AWAY):
            return None, StoppedBecause.SIGNAL  # the batch under way was cut short, and given back
        if isinstance(error, BrokerUnavailableError | BrokerRefusedError):
            return error, StoppedBecause.BROKER_UNAVAILABLE
        if not self._counts.batches:
            raise error
        if isinstance(error, DatabaseUnavailableError):
            return error, StoppedBecause.DATABASE_UNAVAILABLE
        return error, StoppedBecause.FAILED

    def _once(self) -> StoppedBecause:
        reason = self._budget.must_stop()
        if reason is not None:
            return reason
        self._probe()
        self._observer.on_ready()
        return self._passes()

    def _loop(self) -> StoppedBecause:
        """As once, but wait for an unavailable service: a few seconds between two attempts, and no claim."""
        ready = False

        def attempt() -> StoppedBecause:
            nonlocal ready
            reason = self._budget.must_stop()
            if reason is not None:
                return reason
            self._oldest_pending()
            self._probe()
            if not ready:
                self._observer.on_ready()
                ready = True
            return self._passes()

        retrying = Retrying(
            retry=retry_if_exception_type(_AWAY),
            wait=self._next_wait,
            sleep=self._budget.wait,
            stop=lambda _state: self._budget.must_stop() is not None,
            before_sleep=self._before_wait,
            reraise=True,
        )
        return retrying(attempt)

    def _passes(self) -> StoppedBecause:
        pause = _SHORTEST_PAUSE
        locked_since: float | None = None
        while (reason := self._budget.must_stop()) is None:
            if self._sender.probe_is_due:
                self._probe()
            batches = self._counts.batches
            results = self._pass()
            self._failures_in_a_row = 0
            if self._counts.batches > batches:
                pause, locked_since = _SHORTEST_PAUSE, None
            if DrainResult.MORE in results:
                continue
            if not self._options.loop:
                if DrainResult.DRAINED in results:
                    return self._budget.must_stop() or StoppedBecause.EMPTY
                locked_since = locked_since or self._clock()
                if self._clock() - locked_since > _LOCKED_PATIENCE:
                    return StoppedBecause.LOCKED
            self._wait_for_events(pause * random.uniform(0.8, 1.2))  # noqa: S311 - not for secrets
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return reason

    def _pass(self) -> list[DrainResult]:
        """Drain each shard once, in random order, so that two publishers do not follow each other."""
        order = random.sample(self.shards, len(self.shards))
        return [self._drain(shard) for shard in order if self._budget.must_stop() is None]

    def _drain(self, shard: Shard) -> DrainResult:
        self._observer.on_heartbeat(self._counts)
        with closing(shard.drain()) as outcomes:
            for outcome in outcomes:
                self._record(outcome)
        return shard.result

    def _record(self, outcome: BatchOutcome) -> None:
        """Count a committed batch and tell the observer."""
        counts, published, at = self._counts, outcome.published, outcome.acknowledged_at
        self._failures_in_a_row = 0
        self._budget.spend_batch()
        if outcome.partial_transport_failure:
            self._sender.probe_soon()
        counts.batches += 1
        counts.claimed += len(published) + len(outcome.released) - outcome.deferred
        counts.published_by_type.update(event.event_type for event in published)
        counts.retried += outcome.retried + outcome.unsent
        counts.held += outcome.blocked
        counts.add_dead(outcome.dead)
        for event_type, failure in outcome.stopped.items():
            counts.stopped_types[event_type] = error_text(failure.code, failure.reason)
        sample = published[counts.lag.pick(len(published))]
        counts.lag.add((at - event.created_at).total_seconds() for event in sample)
        self._observer.on_heartbeat(counts)
        self._observer.on_progress(counts)
        self._keep_to_the_rate(len(published))

    def _keep_to_the_rate(self, published: int) -> None:
        """Unused time is not made up for: an idle hour allows no burst."""
        if self._options.rate is not None:
            self._paced_until = max(self._paced_until, self._clock()) + published / self._options.rate
            self._budget.wait(self._paced_until - self._clock())

    def _wait_for_events(self, seconds: float) -> None:
        """Wait, but not past a retry that is due."""
        dues = [shard.backlog.next_due() for shard in self.shards]
        soonest = min((due - self._clock() for due in dues if due is not None), default=seconds)
        self._budget.wait(max(0.001, min(seconds, soonest)))

    def _probe(self) -> None:
        """Check that the brokers answer and which event types can flow, so that no message waits for the others."""
        stopped = bool(self._sender.stopped_types)
        self._sender.probe(min(_PROBE_TIMEOUT, self._budget.time_left()))
        if stopped:
            for shard in self.shards:
                shard.backlog.forget()  # it blocks payments because of types that may flow again

    def _next_wait(self, _state: RetryCallState) -> float:
        """Return 0.5 to 6 seconds, with jitter. The wait doubles with each failure; a good batch or pass resets it."""
        self._failures_in_a_row += 1
        longest = min(_FIRST_WAIT * 2.0 ** min(self._failures_in_a_row, 10), _LONGEST_WAIT)
        return random.uniform(longest / 2, longest)  # noqa: S311 - not for secrets

    def _before_wait(self, state: RetryCallState) -> None:
        self._observer.on_heartbeat(self._counts)  # the run is healthy while it waits: a restart would not help
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, PayctlError):
            self._observer.on_wait(error, state.upcoming_sleep)

    def _oldest_pending(self) -> float | None:
        with transaction(self._engine, LIMITS, commit=False) as connection:
            return outbox.oldest_pending(connection, self._options.max_retries)

    def _oldest_pending_if_known(self) -> float | None:
        try:
            return self._oldest_pending()
        except PayctlError:
            return None


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Look for cycles rarely. A batch is tens of thousands of small tuples without any, and looking costs a third."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
