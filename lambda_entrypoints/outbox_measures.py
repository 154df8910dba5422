"""Convert a run's report into metrics, log lines and messages. All three contain only ids and counts."""

from __future__ import annotations

from lambda_entrypoints.warm import Warm
from ticketbottle_payctl.aws.alerts import EVENT_DEAD, DeadEventQueue, Pointer
from ticketbottle_payctl.jobs.publish_outbox import Obstacles, PublishCounts, PublishReport
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.metrics import MOST_VALUES, Amount


class NewlyDead:
    """The events that become dead during a run.

    After the commit, each event is reported once, to the queue and to the topic.
    """

    def __init__(self, warm: Warm, queue_url: str | None, max_retries: int) -> None:
        self._topic = warm.topic
        self._queue = DeadEventQueue(queue_url)
        self._attempts = max_retries
        self._not_told = 0

    @property
    def failed(self) -> int:
        """The number of messages that were not sent."""
        return self._queue.failed + self._not_told

    def on_progress(self, counts: PublishCounts) -> None:
        """Report the dead events in the batch that was committed last."""
        dead = counts.newly_dead
        if not dead:
            return
        pointers = [
            Pointer(event.id, event.aggregate_id, event.event_type, self._attempts, event.error.partition(":")[0])
            for event in dead
        ]
        for pointer in pointers:
            log_event("event_dead", level="error", **pointer._asdict())
        self._queue.send(pointers)
        self._not_told += not self._topic.tell(EVENT_DEAD, events=len(dead), **pointers[0]._asdict())


def log_obstacles(obstacles: Obstacles) -> None:
    """Log why events are waiting, or that no event is waiting any more."""
    if obstacles:
        log_event("publish_outbox_waiting", level="warning", error=None, **obstacles.facts)
    else:
        log_event("publish_outbox_resumed", level="warning")


def of_publishing(report: PublishReport | None, failed_alerts: int) -> dict[str, Amount]:
    """Return a run's metrics. All metrics are zero if ``report`` is None."""
    counts = report.counts if report else PublishCounts()
    return {
        "OutboxPublished": counts.published,
        "OutboxFailed": counts.retried + counts.held,
        "OutboxRetried": counts.retried,
        "OutboxDead": counts.dead,
        "OutboxBatches": counts.batches,
        "PublishLatency": [round(seconds * 1000, 3) for seconds in counts.lag.spread(MOST_VALUES)],
        "AlertFailed": failed_alerts,
    }
