"""Send one claimed batch, and decide the result for each event.

An event is sent only after every earlier event of its payment is committed as published. Therefore, after a crash,
consumers may receive a payment's last event again, but never an older one. This rule matters because a repeated
PAYMENT_FAILED would cancel the tickets of a customer who has paid. If the broker does not acknowledge an event, the
event is released in the transaction that claimed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ticketbottle_payctl.broker.producer import DeliveryFailure
from ticketbottle_payctl.broker.sender import NO_LEADER, Sender
from ticketbottle_payctl.domain.event import START, OutboxEvent
from ticketbottle_payctl.domain.retry import Fault, backoff, error_text, is_dead, retry_count_after
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog, Block, Cause
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason
from ticketbottle_payctl.jobs.publish_outbox.options import OnDead, PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.pipeline import OpenBatch
from ticketbottle_payctl.jobs.publish_outbox.report import DeadEvent
from ticketbottle_payctl.store.outbox.claim import Released

_TRANSPORT_PAUSE = 1.0
_NO_LEADER_PAUSE = 2.0


@dataclass(slots=True)
class BatchOutcome:
    """The result of a batch.

    ``retried`` counts events that failed because of their own content, and ``dead`` lists events that are out of
    retries. ``unsent`` counts events that failed in transport. ``stopped`` contains the event types whose topic cannot
    be written to. ``blocked`` events wait for an earlier event of their payment or for their topic. ``deferred`` events
    wait only until this batch is committed. ``excluded`` contains the payments that the next claims leave out. The
    caller stores ``blocks`` and ``excluded`` in the backlog.
    """

    published: list[OutboxEvent] = field(default_factory=list)
    unsent: int = 0
    stopped: dict[str, DeliveryFailure] = field(default_factory=dict)
    retried: int = 0
    blocked: int = 0
    deferred: int = 0
    dead: list[DeadEvent] = field(default_factory=list)
    released: list[Released] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    broker_responded: bool = False
    """Whether a broker refused an event because of its content or a setting, or a partition has no leader."""
    partial_transport_failure: bool = False
    """Whether only some of the events failed in transport. In this case, the run must probe the brokers again."""
    acknowledged_at: datetime = START[0]
    """The database time at which the results of all deliveries were known."""

    @property
    def broker_away(self) -> bool:
        """Whether some events failed in transport, none was published, and the brokers did not refuse any.

        In this case the run stops, because the next batch would fail too.
        """
        return not self.published and not self.broker_responded and self.unsent > 0

    @property
    def counts(self) -> dict[str, int]:
        """The number of events by result, under the names that traces use."""
        return {
            "published": len(self.published),
            "unsent": self.unsent,
            "retried": self.retried,
            "held": self.blocked,
            "dead": len(self.dead),
        }

    def block(self, event: OutboxEvent) -> None:
        """Give up the claim of a blocked event, and exclude its payment from the next claims."""
        self.blocked += 1
        self.released.append(Released(event.id, event.retry_count, None))
        self.excluded.add(event.aggregate_id)

    def defer(self, event: OutboxEvent, now: float) -> None:
        """Release an event that follows another event of its payment in this batch.

        The publisher claims the event again after the batch is committed.
        """
        self.deferred += 1
        self.released.append(Released(event.id, event.retry_count, None))
        self.blocks.append(Block(event.aggregate_id, event.position, now))

    def fail(self, event: OutboxEvent, failure: DeliveryFailure, options: PublishOptions, now: float) -> None:
        """Release a failed event, update its retry count according to the fault, and block its payment."""
        retry_count = retry_count_after(failure.fault, event.retry_count, options.max_retries)
        error = error_text(failure.code, failure.reason)
        self.released.append(Released(event.id, retry_count, None if retry_count == event.retry_count else error))
        due: float | None = None
        why = BlockReason.FAILED
        if is_dead(retry_count, options.max_retries):
            why = BlockReason.DEAD
            self.dead.append(DeadEvent(event.id, event.aggregate_id, event.event_type, error))
            if options.on_dead is OnDead.RELEASE:
                return
        elif failure.fault is Fault.CONFIGURATION:
            why = BlockReason.TOPIC
            self.blocked += 1
            self.stopped[event.event_type] = failure
        elif failure.fault is Fault.TRANSPORT:
            self.unsent += 1
            due = now + (_NO_LEADER_PAUSE if failure is NO_LEADER else _TRANSPORT_PAUSE)
        else:
            self.retried += 1
            due = now + backoff(retry_count).total_seconds()
        self.blocks.append(Block(event.aggregate_id, event.position, due, Cause(why, error)))
        self.excluded.add(event.aggregate_id)


def send_batch(
    batch: OpenBatch, deadline: float, sender: Sender, backlog: Backlog, clock: Callable[[], float]
) -> BatchOutcome:
    """Send one batch, oldest event first, and return which events are published, released or dead.

    The previous batch must be committed. Sending stops at ``deadline``, which is a time as returned by ``clock``. This
    function only reads the backlog. The caller must store the outcome's blocks in the backlog.
    """
    outcome = BatchOutcome()
    wave, later = _first_of_each_payment(batch.events, backlog, outcome)
    if wave:
        failures, outcome.broker_responded = sender.send(wave, deadline, batch.is_lost)
        unexpected = any(each.fault is Fault.TRANSPORT and each is not NO_LEADER for each in failures.values())
        outcome.partial_transport_failure = unexpected and len(failures) < len(wave)
        for key, failure in failures.items():
            outcome.fail(wave.pop(key), failure, backlog.options, clock())
        outcome.published.extend(wave.values())
    for event in later:
        if event.aggregate_id in outcome.excluded or backlog.is_blocked(event):
            outcome.block(event)
        else:
            outcome.defer(event, clock())
    outcome.acknowledged_at = backlog.database_time(clock())
    return outcome


def _first_of_each_payment(
    events: Sequence[OutboxEvent], backlog: Backlog, outcome: BatchOutcome
) -> tuple[dict[str, OutboxEvent], list[OutboxEvent]]:
    """Return the first event of each payment that is not blocked, and the later events of these payments."""
    wave = {event.aggregate_id: event for event in events}
    if len(wave) == len(events) and not backlog.has_blocks_of(wave):
        return wave, []  # fast path for the usual batch: the loop below takes longer than sending the batch
    wave, later = {}, []
    for event in events:
        if event.aggregate_id in wave:
            later.append(event)
        elif event.aggregate_id in outcome.excluded or backlog.is_blocked(event):
            outcome.block(event)
        else:
            wave[event.aggregate_id] = event
    return wave, later
