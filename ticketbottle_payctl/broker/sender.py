"""Send outbox events, and return the failures. Every command that publishes uses this module.

The sender leaves out events that it knows it cannot send, so that they do not delay other events. There are three
reasons: the event type has no topic, payctl cannot write to the topic, or the partition has no leader.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ticketbottle_payctl.broker.faults import UNKNOWN_EVENT_TYPE
from ticketbottle_payctl.broker.producer import DeliveryFailure, Producer
from ticketbottle_payctl.domain.event import TOPICS, OutboxEvent, to_message
from ticketbottle_payctl.domain.retry import Fault

PROBE_EVERY = 30.0
"""The time between two probes of payctl's topics, in seconds.

If a probe finds a stopped type's topic usable, the sender sends events of that type again.
"""

LOOK_FOR_LEADERS_EVERY = 2.0
"""The time between two probes while a partition has no leader, in seconds.

This time is short, because the partition's events wait only until a leader is elected.
"""

UNKNOWN_TYPE = DeliveryFailure(Fault.PERMANENT, UNKNOWN_EVENT_TYPE, "no topic is known for this event type")
NO_LEADER = DeliveryFailure(Fault.TRANSPORT, "LEADER_NOT_AVAILABLE", "the event's partition has no leader")
_NO_TIME_LEFT = DeliveryFailure(Fault.TRANSPORT, "_TIMED_OUT", "the batch's time limit was reached")


def _never() -> bool:
    return False


class SendResult(NamedTuple):
    """The result of sending events. ``failures`` is keyed by payment. All events without a failure were acknowledged.

    ``broker_responded`` is true if a broker refused an event because of its content or a setting, or if the brokers
    reported a partition without a leader.
    """

    failures: dict[str, DeliveryFailure]
    broker_responded: bool


class Sender:
    """A producer, and the event types that it cannot send.

    ``stopped_types`` are the event types whose topic payctl could not use at the last :meth:`probe` or since then. If
    ``stopping`` returns true, :meth:`send` and :meth:`probe` end early. ``clock`` returns monotonic seconds.
    """

    def __init__(
        self,
        producer: Producer,
        *,
        stopping: Callable[[], bool] = _never,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.producer = producer
        self.stopped_types: dict[str, DeliveryFailure] = {}
        self._stopping, self._clock = stopping, clock
        self._probed_at: float | None = None

    @property
    def probe_is_due(self) -> bool:
        """Return whether the next probe of payctl's topics is due."""
        every = LOOK_FOR_LEADERS_EVERY if self.producer.leaders.missing else PROBE_EVERY
        return self._probed_at is None or self._clock() - self._probed_at >= every

    @property
    def leader_may_be_back(self) -> bool:
        """Return whether a partition had no leader and the next probe is due."""
        return self.producer.leaders.missing and self.probe_is_due

    def probe(self, timeout: float) -> None:
        """Ask the brokers for the state of payctl's topics, within ``timeout`` seconds.

        Raises:
            BrokerUnavailableError: no broker answered.
            BrokerRefusedError: a broker refused the credentials or the TLS connection.
        """
        self.stopped_types = self.producer.probe(timeout, self._stopping)
        self._probed_at = self._clock()

    def probe_soon(self) -> None:
        """Make the next probe due now."""
        self._probed_at = None

    def send(self, events: Mapping[str, OutboxEvent], deadline: float, lost: Callable[[], bool] = _never) -> SendResult:
        """Send at most one event for each payment, and wait for the brokers to respond. ``events`` is keyed by payment.

        Sending stops when the clock reaches ``deadline``, or when ``lost`` returns True because the claim is lost. A
        broker can only refuse a whole batch, even if only one of the events is faulty. Therefore an event that was
        refused because of its content is sent again in its own batch. If a broker refuses the event again, the event is
        faulty.
        """
        obstacles = self._obstacles(events)
        ready = {key: event for key, event in events.items() if key not in obstacles} if obstacles else events
        failures = self._send(ready, deadline, lost)
        responded = any(failure.fault is not Fault.TRANSPORT for failure in failures.values())
        if len(ready) > 1:
            for key in [key for key, failure in failures.items() if failure.fault.is_the_events_own]:
                del failures[key]
                failures |= self._send({key: events[key]}, 0.0 if self._stopping() else deadline, lost)
        for key, failure in failures.items():
            if failure.fault is Fault.CONFIGURATION:
                self.stopped_types[events[key].event_type] = failure
        return SendResult(obstacles | failures, responded or NO_LEADER in obstacles.values())

    def _send(
        self, events: Mapping[str, OutboxEvent], deadline: float, lost: Callable[[], bool]
    ) -> dict[str, DeliveryFailure]:
        left = deadline - self._clock()
        if not events or left <= 0:
            return dict.fromkeys(events, _NO_TIME_LEFT)
        return self.producer.send([to_message(event) for event in events.values()], left, self._stopping, lost)

    def _obstacles(self, events: Mapping[str, OutboxEvent]) -> dict[str, DeliveryFailure]:
        """Return the events that cannot be sent now, each with the reason."""
        types = {event.event_type for event in events.values()}
        if not self.producer.leaders.missing and types <= TOPICS.keys() - self.stopped_types:
            return {}  # the usual case
        found = {}
        for key, event in events.items():
            topic = TOPICS.get(event.event_type)
            if topic is None:
                found[key] = UNKNOWN_TYPE
            elif event.event_type in self.stopped_types:
                found[key] = self.stopped_types[event.event_type]
            elif self.producer.leaders.is_missing(topic, key):
                found[key] = NO_LEADER
        return found
