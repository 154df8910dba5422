"""Define the demo's report, with each step's differences from the expected result.

Times are seconds since the start.
"""

from __future__ import annotations

from dataclasses import dataclass

from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.jobs.process_webhook import WebhookReport
from ticketbottle_payctl.jobs.publish_outbox import PublishReport
from ticketbottle_payctl.sandbox.demo.story import Scene
from ticketbottle_payctl.sandbox.demo.world import Started


@dataclass(frozen=True, slots=True)
class CallbackStep:
    """A callback and the result of processing it."""

    at: float
    scene: Scene
    report: WebhookReport
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that was read from a topic."""

    at: float
    message: Received


@dataclass(frozen=True, slots=True)
class MessageStep:
    """The event that was written for a callback, and the event's messages. There should be exactly one message."""

    scene: Scene
    event_id: str
    topic: str
    arrivals: tuple[Arrival, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The report of a demo. ``own_broker`` is False if the operator specified the brokers.

    ``strays`` are differences that do not belong to a single step.
    """

    own_broker: bool
    started: tuple[Started, ...]
    callbacks: tuple[CallbackStep, ...]
    published: PublishReport
    published_at: float
    messages: tuple[MessageStep, ...]
    strays: tuple[str, ...]
    seconds: float

    @property
    def differences(self) -> list[str]:
        """Return all differences from the expected results. If the demo succeeded, the list is empty."""
        callbacks = [f"{step.scene.about}: {text}" for step in self.callbacks for text in step.differences]
        messages = [f"event {step.event_id}: {text}" for step in self.messages for text in step.differences]
        return [*callbacks, *messages, *self.strays]
