"""The report of the demo, step by step, with the differences from what must be. Instants are seconds."""

from __future__ import annotations

from dataclasses import dataclass

from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.jobs.process_webhook import WebhookReport
from ticketbottle_payctl.jobs.publish_outbox import PublishReport
from ticketbottle_payctl.sandbox.demo.story import Scene
from ticketbottle_payctl.sandbox.demo.world import Started


@dataclass(frozen=True, slots=True)
class CallbackStep:
    """A callback and what the job made of it."""

    at: float
    scene: Scene
    report: WebhookReport
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message read from a topic."""

    at: float
    message: Received


@dataclass(frozen=True, slots=True)
class MessageStep:
    """The event that a callback wrote, and the messages of it that arrived: one, if all is well."""

    scene: Scene
    event_id: str
    topic: str
    arrivals: tuple[Arrival, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Events left for a person to repair."""

    dead: int
    pending: int


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The report of a whole demo.

    ``own_broker`` is false if brokers were given. ``strays`` are differences that belong to no single step.
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
        """Return every difference. It is empty if the demo shows what it should."""
        callbacks = [f"{step.scene.about}: {text}" for step in self.callbacks for text in step.differences]
        messages = [f"event {step.event_id}: {text}" for step in self.messages for text in step.differences]
        return [*callbacks, *messages, *self.strays]
