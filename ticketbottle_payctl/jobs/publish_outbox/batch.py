"""One claimed batch: sent in waves, at most one event in flight per payment, every outcome decided.

A payment's next event is sent only after the broker has acknowledged the one before. What was not acknowledged,
and everything behind it, is put back in the transaction that claimed it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.cursor import Cursor
from ticketbottle_payctl.domain.event import TOPICS, OutboxEvent, to_message
from ticketbottle_payctl.domain.retry import Fault, backoff, error_text, retry_count_after
from ticketbottle_payctl.jobs.publish_outbox.report import DeadEvent, OnDead, PublishOptions
from ticketbottle_payctl.store.outbox import PutBack

SEND_TIMEOUT = 35.0
"""Longer than a message may take, shorter than the transaction may idle; in seconds."""

_TRANSPORT_PAUSE = 1.0
_UNKNOWN_TYPE = Failure(Fault.PERMANENT, "UNKNOWN_EVENT_TYPE", "no topic is known for this event type")


@dataclass(slots=True)
class BatchOutcome:
    """What became of a batch. ``unsent`` were the network's fault, ``stopped`` a setting's, ``retried`` their own."""

    published: Counter[str] = field(default_factory=Counter)
    unsent: int = 0
    stopped: dict[str, Failure] = field(default_factory=dict)
    retried: int = 0
    held: int = 0
    dead: list[DeadEvent] = field(default_factory=list)
    put_back: list[PutBack] = field(default_factory=list)

    @property
    def broker_away(self) -> bool:
        """Not one delivery, and the network is why: the run should stop rather than try the next batch."""
        return not self.published and self.unsent > 0


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends batches of one shard and writes to its cursor which payments must wait.

    ``stopped_types`` are event types whose topic cannot be written to; they are held until the next sweep.
    """

    producer: Producer
    cursor: Cursor
    options: PublishOptions
    stopped_types: dict[str, Failure]
    stopping: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic

    def send(self, events: Sequence[OutboxEvent]) -> BatchOutcome:
        """Send one batch, oldest first, and decide every event."""
        outcome = BatchOutcome()
        deadline = self.clock() + SEND_TIMEOUT
        remaining: Sequence[OutboxEvent] = events
        while remaining:
            wave, remaining = self._next_wave(remaining, outcome)
            self._send_wave(wave, deadline, outcome)
        return outcome

    def _next_wave(
        self, events: Sequence[OutboxEvent], outcome: BatchOutcome
    ) -> tuple[dict[str, OutboxEvent], list[OutboxEvent]]:
        """Each key's first event that may go; then what is left for the waves after."""
        wave: dict[str, OutboxEvent] = {}
        later: list[OutboxEvent] = []
        for event in events:
            key = event.aggregate_id
            if key in wave:
                later.append(event)
            elif self.cursor.must_wait(event):
                outcome.held += 1
                outcome.put_back.append(PutBack(event.id, event.retry_count, None))
            elif event.event_type not in TOPICS:
                self._decide(event, _UNKNOWN_TYPE, outcome)
            elif event.event_type in self.stopped_types:
                self._decide(event, self.stopped_types[event.event_type], outcome)
            else:
                wave[key] = event
        return wave, later

    def _send_wave(self, wave: dict[str, OutboxEvent], deadline: float, outcome: BatchOutcome) -> None:
        if not wave:
            return
        messages = [to_message(event) for event in wave.values()]
        failures = self.producer.send(messages, max(0.0, deadline - self.clock()), self.stopping)
        for key, failure in failures.items():
            self._decide(wave.pop(key), failure, outcome)
        outcome.published.update(event.event_type for event in wave.values())

    def _decide(self, event: OutboxEvent, failure: Failure, outcome: BatchOutcome) -> None:
        """Charge a failure to its budget, let the payment wait, and put the event back."""
        retry_count = retry_count_after(failure.fault, event.retry_count, self.options.max_retries)
        charged = retry_count != event.retry_count
        error = error_text(failure.code, failure.reason)
        outcome.put_back.append(PutBack(event.id, retry_count, error if charged else None))
        if retry_count >= self.options.max_retries:
            outcome.dead.append(DeadEvent(event.id, event.aggregate_id, event.event_type, error))
            if self.options.on_dead is OnDead.BLOCK:
                self.cursor.block(event.aggregate_id, event.position, None)
        elif failure.fault is Fault.CONFIGURATION:
            outcome.held += 1
            outcome.stopped[event.event_type] = self.stopped_types[event.event_type] = failure
            self.cursor.block(event.aggregate_id, event.position, None)
        elif failure.fault is Fault.TRANSPORT:
            outcome.unsent += 1
            self.cursor.block(event.aggregate_id, event.position, self.clock() + _TRANSPORT_PAUSE)
        else:
            outcome.retried += 1
            due = self.clock() + backoff(retry_count).total_seconds()
            self.cursor.block(event.aggregate_id, event.position, due)
