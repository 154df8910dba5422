"""Run a publisher once until the shards are empty, or in a loop until it must stop.

No transaction is open between two drains. Therefore a run does not hold locks while it waits for events, for a broker
or for the database. A stop signal ends the wait immediately.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from threading import Event

from sqlalchemy import Engine
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.broker.sender import Sender
from ticketbottle_payctl.domain.retry import error_text
from ticketbottle_payctl.errors import BrokerRefusedError, DatabaseUnavailableError, PayctlError, UnavailableError
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog
from ticketbottle_payctl.jobs.publish_outbox.batch import BatchOutcome
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.jobs.publish_outbox.facts import StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.find_obstacles import look
from ticketbottle_payctl.jobs.publish_outbox.garbage import rare_garbage_collection
from ticketbottle_payctl.jobs.publish_outbox.observer import Observer
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Obstacles
from ticketbottle_payctl.jobs.publish_outbox.options import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.presence import NO_BROKERS, Presence
from ticketbottle_payctl.jobs.publish_outbox.report import PublishCounts, PublishReport
from ticketbottle_payctl.jobs.publish_outbox.shard import DrainResult, Shard
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox.cdc import count_pending
from ticketbottle_payctl.store.outbox.oldest_pending import oldest_pending

_PROBE_TIMEOUT = 10.0
_LOCKED_PATIENCE = 2.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 6.0
"""The longest wait between two attempts to reach an unavailable service, in seconds.

The wait and the attempt together take at most ten seconds, so publishing continues soon after an outage.
"""

_LOOK_AGAIN, _LOOK_EVERY = 1.0, 5.0
_LOOK_SHARE = 20
_LOOK_LIMIT = timedelta(seconds=5)
"""The time limit for the statements that find out why events are waiting.

A loop runs these statements within a second of the first sign of waiting events, and then every five seconds. The pause
between two reads is at least twenty times as long as a read.
"""

_AWAY = (UnavailableError, BrokerRefusedError)


class PublisherRun:
    """A publisher's run, from the first probe of the broker to the report. All lasting state is in the database."""

    def __init__(  # noqa: PLR0913, PLR0917 - one argument per dependency
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
        owner = f"{socket.gethostname()}:{os.getpid()}:{random.getrandbits(48):012x}"
        self._presence = Presence(engine, owner)
        self.shards = [
            Shard(engine, sender, Backlog(options, number), budget, owner, observer) for number in range(options.shards)
        ]
        self._failures_in_a_row = 0
        self._paced_until = 0.0
        self._obstacles = Obstacles()
        self._trouble = self._locked = False
        self._blocked = 0
        self._looked_at, self._look_took = float("-inf"), 0.0
        self._counted_at, self._count_took = float("-inf"), 0.0

    def run(self) -> PublishReport:
        """Run to the end and return the report.

        If an error ends the run before anything is committed, raise the error, unless the broker caused it.
        """
        failure: PayctlError | None = None
        with rare_garbage_collection():
            try:
                reason = self._loop() if self._options.loop else self._once()
            except PayctlError as error:
                failure, reason = self._ended_by(error)
        seconds = self._clock() - self._budget.began
        report = PublishReport(self._counts, reason, seconds, self._obstacles_at_the_end(failure), failure)
        self._presence.end(failure)
        log_event("publish_outbox_ended", counts=self._counts.by_name, **report.facts)
        return report

    def _ended_by(self, error: PayctlError) -> tuple[PayctlError | None, StoppedBecause]:
        if self._budget.stop.is_set() and isinstance(error, _AWAY):
            return None, StoppedBecause.SIGNAL  # the current batch was cut short and released
        if isinstance(error, NO_BROKERS):
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
        """Drain the shards until the run must stop. If a service is unavailable, wait a few seconds and try again."""
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
            tried = self._tried
            results = self._pass()
            self._failures_in_a_row = 0
            if self._tried > tried:  # a batch with only blocked events does not shorten the pause
                pause, locked_since = _SHORTEST_PAUSE, None
            if DrainResult.MORE in results:
                continue
            locked_since = (locked_since or self._clock()) if DrainResult.LOCKED in results else None
            self._locked = locked_since is not None and self._clock() - locked_since > _LOCKED_PATIENCE
            if not self._options.loop and (locked_since is None or self._locked):
                return StoppedBecause.LOCKED if self._locked else self._budget.must_stop() or StoppedBecause.EMPTY
            self._look_if_due()
            self._wait_for_events(pause * random.uniform(0.8, 1.2))  # noqa: S311 - not for secrets
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return reason

    @property
    def _tried(self) -> int:
        """The number of claimed events that were not blocked."""
        return self._counts.claimed - self._blocked

    def _pass(self) -> list[DrainResult]:
        """Drain each shard once. The order is random, so that two publishers do not compete for the same shard."""
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
        self._trouble |= bool(outcome.excluded)
        self._blocked += outcome.blocked
        self._budget.spend_batch()
        if outcome.partial_transport_failure:
            self._sender.probe_soon()
        counts.batches += 1
        counts.claimed += len(published) + len(outcome.released) - outcome.deferred
        counts.published_by_type.update(event.event_type for event in published)
        counts.retried += outcome.retried + outcome.unsent
        counts.add_dead(outcome.dead)
        for event_type, failure in outcome.stopped.items():
            counts.stopped_types[event_type] = error_text(failure.code, failure.reason)
        sample = published[counts.lag.pick(len(published))]
        counts.lag.add((at - event.created_at).total_seconds() for event in sample)
        self._observer.on_heartbeat(counts)
        self._observer.on_progress(counts)
        self._look_if_due()
        self._keep_to_the_rate(len(published))

    def _keep_to_the_rate(self, published: int) -> None:
        """Wait until the rate limit allows the next batch.

        Idle time is not credited, so an idle hour is not followed by a burst.
        """
        if self._options.rate is not None:
            self._paced_until = max(self._paced_until, self._clock()) + published / self._options.rate
            self._budget.wait(self._paced_until - self._clock())

    def _wait_for_events(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the next retry is due if that is sooner."""
        dues = [shard.backlog.next_due() for shard in self.shards if shard.result is not DrainResult.LOCKED]
        soonest = min((due - self._clock() for due in dues if due is not None), default=seconds)
        self._budget.wait(max(0.001, min(seconds, soonest)))

    def _probe(self) -> None:
        """Ask the brokers which event types can be sent.

        Raises:
            BrokerUnavailableError, BrokerRefusedError: the brokers are unavailable, or refuse the connection.
        """
        stopped = bool(self._sender.stopped_types)
        self._sender.probe(min(_PROBE_TIMEOUT, self._budget.time_left()))
        self._presence.reached()
        if stopped:
            for shard in self.shards:
                shard.backlog.forget()  # blocks for stopped event types may no longer apply

    def _next_wait(self, _state: RetryCallState) -> float:
        """Return the wait before the next attempt: 0.5 to 6 seconds, with jitter.

        The wait doubles with each failure. A committed batch or a successful pass resets the wait.
        """
        self._failures_in_a_row += 1
        longest = min(_FIRST_WAIT * 2.0 ** min(self._failures_in_a_row, 10), _LONGEST_WAIT)
        return random.uniform(longest / 2, longest)  # noqa: S311 - not for secrets

    def _before_wait(self, state: RetryCallState) -> None:
        self._observer.on_heartbeat(self._counts)  # the run is healthy while it waits, so a restart would not help
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, PayctlError):
            self._presence.cannot_reach(error)
            self._tell(self._waiting_for(error))
            self._observer.on_wait(error, state.upcoming_sleep)

    def _waiting_for(self, error: PayctlError) -> Obstacles:
        """Return the reasons why events are waiting, with the error.

        Without brokers, no pending event can be sent, so count them all. If this is slow, count them less often.
        """
        found = replace(self._obstacles, away=error)
        wanted = self._observer.on_look is not None or self._obstacles.away is None
        due = self._clock() - self._counted_at >= _LOOK_SHARE * self._count_took
        if not (isinstance(error, NO_BROKERS) and wanted and due):
            return found
        began = self._clock()
        waiting = self._pending()
        self._counted_at = self._clock()
        self._count_took = self._counted_at - began
        return found if waiting is None else replace(found, pending=waiting[0], oldest_pending_age_s=waiting[1])

    def _look_if_due(self) -> None:
        """In a loop, find out why events are waiting: soon after they start waiting, then every few seconds.

        If no event is waiting, read only if the observer has ``on_look``. If the reads are slow, read less often.
        """
        if not self._options.loop:
            return
        trouble = self._trouble or self._locked or bool(self._sender.stopped_types)
        wanted = trouble or bool(self._obstacles) or self._observer.on_look is not None
        every = _LOOK_AGAIN if trouble and not self._obstacles else _LOOK_EVERY
        if wanted and self._clock() - self._looked_at >= max(every, _LOOK_SHARE * self._look_took):
            self._trouble = False
            found = self._look_or_guess()
            # Events may still be waiting in a shard that another publisher holds and this run knows nothing about.
            if found or all(shard.is_known for shard in self.shards):
                self._tell(found)

    def _look_or_guess(self) -> Obstacles:
        """Return the result of :meth:`_look`. If the database takes too long, return only the stopped types."""
        try:
            return self._look(locked=self._locked)
        except DatabaseUnavailableError as error:  # if the database is really unavailable, the next claim fails too
            self._looked_at, self._look_took = self._clock(), _LOOK_LIMIT.total_seconds()
            return Obstacles(stopped=self._stopped(), unread=error)

    def _stopped(self) -> dict[str, str]:
        return {name: error_text(why.code, why.reason) for name, why in self._sender.stopped_types.items()}

    def _look(self, *, locked: bool) -> Obstacles:
        """Read why events are waiting, and count the events that are held.

        Raises:
            DatabaseUnavailableError: the database is unavailable, or took too long.
        """
        began = self._clock()
        refused = [shard.number for shard in self.shards if shard.result is DrainResult.LOCKED] if locked else []
        with transaction(self._engine, replace(LIMITS, statement=_LOOK_LIMIT), commit=False) as connection:
            found = look(connection, [shard.backlog for shard in self.shards], began, self._stopped(), refused)
        self._counts.held, self._looked_at = found.held, self._clock()
        self._look_took = self._looked_at - began
        return found

    def _tell(self, found: Obstacles) -> None:
        before, self._obstacles = self._obstacles, found
        if not found.same_as(before):
            self._observer.on_obstacles(found)
        if self._observer.on_look is not None:
            self._observer.on_look(found)

    def _obstacles_at_the_end(self, failure: PayctlError | None) -> Obstacles:
        """Return why events are waiting at the end of the run, including the error from an unavailable service."""
        away = failure if isinstance(failure, _AWAY) else self._obstacles.away
        try:
            found = replace(self._look(locked=self._locked or not self._counts.batches), away=away)
        except PayctlError as error:
            self._counts.held = max(self._counts.held, self._blocked)
            return Obstacles(away=away, stopped=self._stopped(), unread=error)
        waiting = self._pending() if isinstance(failure, NO_BROKERS) else None
        return found if waiting is None else replace(found, pending=waiting[0])

    def _pending(self) -> tuple[int, float | None] | None:
        """Return the number of pending events and the age of the oldest, or None if the database does not answer."""
        limits, most = replace(LIMITS, statement=_LOOK_LIMIT), self._options.max_retries
        with suppress(PayctlError), transaction(self._engine, limits, commit=False) as connection:
            return count_pending(connection, most), oldest_pending(connection, most)
        return None

    def _oldest_pending(self) -> float | None:
        with transaction(self._engine, LIMITS, commit=False) as connection:
            return oldest_pending(connection, self._options.max_retries)
