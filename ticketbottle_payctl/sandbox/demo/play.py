"""Process the callbacks from ``story`` with the same job as in production.

Then run the publisher once, and read the topics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Final

from ticketbottle_payctl import providers
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.new_event import NewEvent
from ticketbottle_payctl.jobs.process_webhook import Trace, process_webhook
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, PublishReport, publish_outbox
from ticketbottle_payctl.sandbox.demo import check
from ticketbottle_payctl.sandbox.demo.report import Arrival, CallbackStep, DemoReport, MessageStep
from ticketbottle_payctl.sandbox.demo.story import Scene, write_story
from ticketbottle_payctl.sandbox.demo.world import LIMITS, Say, Started, World
from ticketbottle_payctl.store.db.engine import transaction

_PATIENCE: Final = 10.0
_GLANCE: Final = 0.2


def play(world: World, say: Say) -> DemoReport:
    """Process the callbacks once, and return a report with each difference from the expected results.

    Raises:
        UnavailableError: the database or the given brokers cannot be reached.
    """
    with transaction(world.services.engine, LIMITS) as connection:
        scenes = write_story(connection)
    payments = len({scene.payment.id for scene in scenes})
    waiting = Started(world.elapsed(), "payments", f"{payments}, each waiting for its gateway's callback")
    say("receiving callbacks")
    callbacks = tuple(_receive(world, scene, number) for number, scene in enumerate(scenes, 1))
    say("publishing")
    published = _publish(world)
    published_at = world.elapsed()
    say("reading back")
    arrivals = _read_back(world, [scene.payment.id.encode() for scene in scenes], published.counts.published)
    messages, strays = _compare(world, callbacks, arrivals)
    return DemoReport(
        own_broker=world.own_broker,
        started=(*world.started, waiting),
        callbacks=callbacks,
        published=published,
        published_at=published_at,
        messages=messages,
        strays=strays,
        seconds=world.elapsed(),
    )


def follow(world: World, stop: Event, show: Callable[[Arrival], None]) -> None:
    """Show new messages in the topics until ``stop`` is set."""
    while not stop.is_set():
        for message in world.reader.read(_GLANCE):
            show(Arrival(world.elapsed(), message))


def _receive(world: World, scene: Scene, number: int) -> CallbackStep:
    gateway = providers.by_name(scene.payment.provider)
    services = world.services
    trace = Trace(_correlation_id(number))
    report = process_webhook(services.engine, scene.request, gateway, services.credentials(gateway), trace=trace)
    return CallbackStep(world.elapsed(), scene, report, tuple(check.of_callback(scene, report)))


def _publish(world: World) -> PublishReport:
    services = world.services
    options = PublishOptions(batch_size=services.settings.batch_size, max_retries=services.settings.max_retries)
    report = publish_outbox(services.engine, services.producer, options)
    if report.failure is not None:
        raise report.failure
    return report


def _read_back(world: World, keys: Sequence[bytes], expected: int) -> list[Arrival]:
    """Return the messages about the demo's payments.

    Stop at the end of the topics, or when all messages have arrived.
    """
    ends, deadline = world.reader.ends(), world.elapsed() + _PATIENCE
    arrivals: list[Arrival] = []
    while not world.reader.has_reached(ends) and world.elapsed() < deadline:
        batch = world.reader.read(_GLANCE)
        arrivals += [Arrival(world.elapsed(), message) for message in batch if message.key in keys]
        if not batch and len(arrivals) >= expected:
            break
    return arrivals


def _compare(
    world: World, callbacks: Sequence[CallbackStep], arrivals: Sequence[Arrival]
) -> tuple[tuple[MessageStep, ...], tuple[str, ...]]:
    """Return a step for each event that was written for a callback, and the differences that no step contains."""
    scenes = [step.scene for step in callbacks]
    with transaction(world.services.engine, LIMITS, commit=False) as connection:
        rows = check.read_rows(connection)
        strays = list(check.of_database(connection, scenes, sum(scene.expected.writes_event for scene in scenes)))
    steps = [
        _step(step.scene, event, rows.get(event.id), arrivals, _correlation_id(number))
        for number, step in enumerate(callbacks, 1)
        if (event := step.report.event) is not None
    ]
    known = {step.event_id for step in steps}
    strays += [f"a message for event {_event_id(one)} arrived" for one in arrivals if _event_id(one) not in known]
    return tuple(steps), tuple(strays)


def _step(
    scene: Scene, event: NewEvent, row: check.OutboxRow | None, arrivals: Sequence[Arrival], correlation_id: str
) -> MessageStep:
    own = tuple(arrival for arrival in arrivals if _event_id(arrival) == event.id)
    found = check.of_event(row, [arrival.message for arrival in own], correlation_id)
    return MessageStep(scene, event.id, TOPICS[event.event_type], own, tuple(found))


def _event_id(arrival: Arrival) -> str:
    return (arrival.message.header.get("eventId") or b"").decode(errors="replace")


def _correlation_id(number: int) -> str:
    return f"demo-{number}"
