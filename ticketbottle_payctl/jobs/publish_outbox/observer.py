"""Define the functions with which a caller observes a publisher's run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Obstacles
from ticketbottle_payctl.jobs.publish_outbox.report import PublishCounts
from ticketbottle_payctl.tracing import BatchSpan, batch_span


@dataclass(frozen=True, slots=True)
class Observer:
    """A set of functions that a run calls. The run waits for each function to return."""

    on_ready: Callable[[], None] = lambda: None
    on_heartbeat: Callable[[PublishCounts], None] = lambda _counts: None
    on_progress: Callable[[PublishCounts], None] = lambda _counts: None
    on_wait: Callable[[PayctlError, float], None] = lambda _error, _seconds: None
    on_obstacles: Callable[[Obstacles], None] = lambda _obstacles: None
    """A function that is called when the reasons for waiting change, or when no event is waiting any more."""
    on_look: Callable[[Obstacles], None] | None = None
    """A function that a loop calls about every five seconds with the reasons why events are waiting.

    If this function is set, the loop reads the database even when no event is waiting.
    """
    on_send: Callable[[int, float], None] = lambda _events, _age_s: None
    """A function that is called before a batch is sent, with the number of events and the age of the oldest event.

    The age is in seconds, in database time. Sending can take 45 seconds if the brokers do not answer.
    """
    on_settle: Callable[[float], None] = lambda _seconds: None
    """A function that is called when the run begins to wait after an interrupted claim.

    The argument is the length of the wait in seconds.
    """
    span: BatchSpan = batch_span
