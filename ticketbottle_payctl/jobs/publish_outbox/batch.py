"""One claimed batch: sent, every outcome decided.

A payment's event is sent only after every earlier one of it is committed as published. So after a crash only the
last event that a payment's consumer saw can come again, never an older one: a late PAYMENT_FAILED would take a paid
customer's tickets away. What was not acknowledged is put back in the transaction that claimed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.cursor import Cursor
from ticketbottle_payctl.domain.event import TOPICS, OutboxEvent, to_message
from ticketbottle_payctl.domain.retry import Fault, backoff, error_text, retry_count_after
from ticketbottle_payctl.jobs.publish_outbox.report import DeadEvent, OnDead, PublishOptions
from ticketbottle_payctl.store.outbox.claim import PutBack

SEND_WITHIN = 45.0
"""Seconds from the claim's begin to the last delivery: a message may take 30, the claim's transaction may idle for 60.

So who was frozen for a minute, and lost the claim to somebody else meanwhile, does not send it any more. Who can see
that the claim is lost stops at once.
"""

_TRANSPORT_PAUSE = 1.0
_NO_LEADER_PAUSE = 2.0
_NO_LEADER = Failure(Fault.TRANSPORT, "LEADER_NOT_AVAILABLE", "its partition has no leader")
_UNKNOWN_TYPE = Failure(Fault.PERMANENT, "UNKNOWN_EVENT_TYPE", "no topic is known for this event type")
_NO_TIME_LEFT = Failure(Fault.TRANSPORT, "_TIMED_OUT", "the batch's time was over")


@dataclass(slots=True)
class BatchOutcome:
    """What became of a batch. ``unsent`` were the network's fault, ``stopped`` a setting's, ``retried`` their own.

    ``held`` wait for their payment or their topic, ``postponed`` only for the commit of this batch.
    """

    published: list[OutboxEvent] = field(default_factory=list)
    unsent: int = 0
    stopped: dict[str, Failure] = field(default_factory=dict)
    retried: int = 0
    held: int = 0
    postponed: int = 0
    dead: list[DeadEvent] = field(default_factory=list)
    put_back: list[PutBack] = field(default_factory=list)
    answered: bool = False
    """Whether some event was refused for what it is, for a setting or for want of a leader: then somebody was there."""
    surprised: bool = False
    """Whether some did not get through while others did: the topics are worth another look."""

    @property
    def broker_away(self) -> bool:
        """Not one delivery nor refusal, and the network is why: the run should stop rather than try the next batch."""
        return not self.published and not self.answered and self.unsent > 0

    @property
    def counts(self) -> dict[str, int]:
        """What became of the events, in numbers."""
        return {
            "published": len(self.published),
            "unsent": self.unsent,
            "retried": self.retried,
            "held": self.held,
            "dead": len(self.dead),
        }


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends batches of one shard and writes to its cursor which payments must wait.

    ``stopped_types`` are event types whose topic cannot be written to; they are held until the topics are looked
    at again.
    """

    producer: Producer
    cursor: Cursor
    options: PublishOptions
    stopped_types: dict[str, Failure]
    stopping: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic

    def send(self, events: Sequence[OutboxEvent], claimed_since: float, lost: Callable[[], bool]) -> BatchOutcome:
        """Send one batch, oldest first, and decide every event. The batch before is committed.

        Once ``lost`` says that the claim is gone, nothing more is sent.
        """
        outcome = BatchOutcome()
        wave = self._whole(events)
        later = [] if wave else self._choose(events, wave, outcome)
        if wave:
            self._send_wave(wave, claimed_since + SEND_WITHIN, lost, outcome)
        for event, waits in [(event, self.cursor.must_wait(event)) for event in later]:
            (self._hold if waits else self._postpone)(event, outcome)
        return outcome

    def _whole(self, events: Sequence[OutboxEvent]) -> dict[str, OutboxEvent]:
        """All of the batch by payment, if nothing is in the way of any of it, as is usual; else nothing."""
        free = {event.event_type for event in events} <= TOPICS.keys() - self.stopped_types
        if not free or self.producer.leaders.missing:
            return {}
        wave = {event.aggregate_id: event for event in events}
        return wave if len(wave) == len(events) and not self.cursor.waits_for(wave) else {}

    def _choose(
        self, events: Iterable[OutboxEvent], wave: dict[str, OutboxEvent], outcome: BatchOutcome
    ) -> list[OutboxEvent]:
        """Fill the wave with each payment's first event, if it may go; what is left are the events behind those."""
        later: list[OutboxEvent] = []
        for event in events:
            key = event.aggregate_id
            if key in wave:
                later.append(event)
            elif self.cursor.must_wait(event):
                self._hold(event, outcome)
            elif event.event_type not in TOPICS:
                self._decide(event, _UNKNOWN_TYPE, outcome)
            elif event.event_type in self.stopped_types:
                self._decide(event, self.stopped_types[event.event_type], outcome)
            elif self.producer.leaders.is_missing(TOPICS[event.event_type], key):
                outcome.answered = True
                self._decide(event, _NO_LEADER, outcome)
            else:
                wave[key] = event
        return later

    def _send_wave(
        self, wave: dict[str, OutboxEvent], deadline: float, lost: Callable[[], bool], outcome: BatchOutcome
    ) -> None:
        failures = self._send_messages(wave, deadline, lost)
        faults = {failure.fault for failure in failures.values()}
        outcome.answered |= bool(faults - {Fault.TRANSPORT})
        outcome.surprised = Fault.TRANSPORT in faults and len(failures) < len(wave)
        if len(wave) > 1:
            # The broker refuses messages by the bundle: only one that is refused alone is to blame for it.
            for key in [key for key, failure in failures.items() if failure.fault.is_the_events_own]:
                del failures[key]
                failures |= self._send_messages({key: wave[key]}, 0.0 if self.stopping() else deadline, lost)
        for key, failure in failures.items():
            self._decide(wave.pop(key), failure, outcome)
        outcome.published.extend(wave.values())

    def _send_messages(
        self, wave: dict[str, OutboxEvent], deadline: float, lost: Callable[[], bool]
    ) -> dict[str, Failure]:
        messages = [to_message(event) for event in wave.values()]
        left = deadline - self.clock()
        if left <= 0:
            return dict.fromkeys(wave, _NO_TIME_LEFT)
        return self.producer.send(messages, left, self.stopping, lost)

    def _hold(self, event: OutboxEvent, outcome: BatchOutcome) -> None:
        outcome.held += 1
        outcome.put_back.append(PutBack(event.id, event.retry_count, None))

    def _postpone(self, event: OutboxEvent, outcome: BatchOutcome) -> None:
        """Put back what is behind an event of this batch; it is next as soon as that one is committed."""
        outcome.postponed += 1
        outcome.put_back.append(PutBack(event.id, event.retry_count, None))
        self.cursor.block(event.aggregate_id, event.position, self.clock())

    def _decide(self, event: OutboxEvent, failure: Failure, outcome: BatchOutcome) -> None:
        """Charge a failure to its budget, let the payment wait, and put the event back."""
        retry_count = retry_count_after(failure.fault, event.retry_count, self.options.max_retries)
        charged = retry_count != event.retry_count
        error = error_text(failure.code, failure.reason)
        outcome.put_back.append(PutBack(event.id, retry_count, error if charged else None))
        if retry_count >= self.options.max_retries:
            outcome.dead.append(DeadEvent(event.id, event.aggregate_id, event.event_type, error))
            if self.options.on_dead is OnDead.BLOCK:
                self._block(event, None)
        elif failure.fault is Fault.CONFIGURATION:
            outcome.held += 1
            outcome.stopped[event.event_type] = self.stopped_types[event.event_type] = failure
            self._block(event, None)
        elif failure.fault is Fault.TRANSPORT:
            outcome.unsent += 1
            self._block(event, _NO_LEADER_PAUSE if failure is _NO_LEADER else _TRANSPORT_PAUSE)
        else:
            outcome.retried += 1
            self._block(event, backoff(retry_count).total_seconds())

    def _block(self, event: OutboxEvent, seconds: float | None) -> None:
        self.cursor.block(event.aggregate_id, event.position, None if seconds is None else self.clock() + seconds)
        self.cursor.hold(event.aggregate_id)
