"""Build the demo's report as JSON. ``timeline`` builds the report as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from ticketbottle_payctl.cli.commands.demo import timeline
from ticketbottle_payctl.cli.commands.demo.cases import case_words
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Result
from ticketbottle_payctl.domain.decision_fields import Decision, ProviderName, WebhookOutcome
from ticketbottle_payctl.facts import Count, Seconds
from ticketbottle_payctl.sandbox.demo import Arrival, CallbackStep, Case, DemoReport, Fault, Kept, MessageStep, Started


class DemoCounts(TypedDict):
    """The counts of callbacks, events, messages and unexpected results in the demo."""

    callbacks: Count
    """The number of callbacks that the demo sent."""
    settled: Count
    already_settled: Count
    refused: Count
    published: Count
    """The number of events that the broker acknowledged during the demo."""
    arrived: Count
    """The number of messages that the demo read back."""
    differences: Count
    """The number of differences from the expected results."""


class BacklogFacts(TypedDict):
    """The number of events that are left for the user to repair."""

    dead: Count
    pending: Count


class CaseFacts(TypedDict):
    """An order that is left for the user to repair."""

    fault: Fault
    order_code: str
    find: str
    """The command that finds the fault."""
    repair: str
    """The command that repairs the order, or closes it if no command repairs it."""
    play: NotRequired[str | None]
    """The command that simulates what the customer does before the order is closed, such as paying again."""


class DemoFacts(TypedDict):
    """The result of the demo."""

    own_broker: bool
    """Whether the demo started its own broker; false if KAFKA_BROKERS was given."""
    seconds: Seconds
    """The seconds from the first server's start to the last check."""
    differences: Sequence[str]
    """Each difference from the expected results."""
    settings: Mapping[str, str] | None
    """With --keep: the environment variables that another process needs to use these servers."""
    backlog: BacklogFacts | None
    """With --keep: the events that are left to repair."""
    settings_file: str | None
    """With --keep: a file that sets the variables of ``settings`` in bash, zsh and fish."""
    cases: Sequence[CaseFacts] | None
    """With --keep: the orders that are left to repair. Repair them in this sequence."""


class StartedItem(TypedDict):
    """A part of the demo that is ready."""

    step: Literal["started"]
    at_ms: Count
    """The milliseconds since the start of the demo."""
    name: str
    detail: str


class ShortReply(TypedDict):
    """An HTTP reply without its headers."""

    status: int
    body: str


class CallbackItem(Decision):
    """A callback that the demo received."""

    step: Literal["callback"]
    at_ms: Count
    """The milliseconds since the start of the demo."""
    provider: ProviderName
    """The gateway that sent the callback."""
    says: str
    """The result that the callback reports."""
    about: str
    """What the callback really is, such as a forgery."""
    payment_id: str
    order_code: str
    outcome: WebhookOutcome
    reply: ShortReply
    """The reply to the gateway."""
    as_expected: bool
    """Whether both the decision and the reply were as expected."""


class PublishedItem(TypedDict):
    """The result of the publisher's run."""

    step: Literal["published"]
    at_ms: Count
    """The milliseconds since the start of the demo."""
    events: Count
    batches: Count
    stopped_because: str


class MessageItem(TypedDict):
    """A message that arrived."""

    step: Literal["message"]
    at_ms: Count
    """The milliseconds since the start of the demo."""
    event_id: str
    order_code: str
    topic: str
    partition: Count
    offset: Count
    key: str | None
    value: str | None
    """The payload as PostgreSQL prints it."""
    headers: Mapping[str, str | None]
    as_expected: bool
    """Whether this is the event's only message, and its topic, key, headers and payload are right."""


DemoItem = StartedItem | CallbackItem | PublishedItem | MessageItem


def result_of(report: DemoReport) -> Result:
    """Return the result of a finished demo. The exit code is 6 if a result differs from the expected one."""
    return _result(report, None)


def result_of_kept(report: DemoReport, kept: Kept) -> Result:
    """Return the result of a demo that keeps running, with the settings that other commands need to use its servers."""
    return _result(report, kept)


def _result(report: DemoReport, kept: Kept | None) -> Result:
    outcomes = [step.report.outcome for step in report.callbacks]
    differences = report.differences
    counts: DemoCounts = {
        "callbacks": len(outcomes),
        "settled": outcomes.count(WebhookOutcome.SETTLED),
        "already_settled": outcomes.count(WebhookOutcome.ALREADY_SETTLED),
        "refused": outcomes.count(WebhookOutcome.REFUSED),
        "published": report.published.counts.published,
        "arrived": sum(len(step.arrivals) for step in report.messages),
        "differences": len(differences),
    }
    facts: DemoFacts = {
        "own_broker": report.own_broker,
        "seconds": round(report.seconds, 3),
        "differences": differences,
        "settings": None if kept is None else dict(kept.settings),
        "backlog": None if kept is None else {"dead": kept.left.dead, "pending": kept.left.pending},
        "settings_file": None if kept is None else str(kept.file),
        "cases": None if kept is None else [_case(each) for each in kept.left.cases],
    }
    return Result(
        "payctl.demo/1",
        ExitCode.PARTIAL if differences else ExitCode.DONE,
        counts=counts,
        result=facts,
        items=list(_items(report)),
        human=[*timeline.story(report), *timeline.way_on(kept)],
    )


def _case(case: Case) -> CaseFacts:
    words = case_words(case)
    return {
        "fault": case.fault,
        "order_code": case.order_code,
        "find": words.find,
        "repair": words.repair,
        "play": words.play,
    }


def _items(report: DemoReport) -> Iterator[DemoItem]:
    yield from (_started(one) for one in report.started)
    yield from (_callback(step) for step in report.callbacks)
    published = report.published
    yield {
        "step": "published",
        "at_ms": _ms(report.published_at),
        "events": published.counts.published,
        "batches": published.counts.batches,
        "stopped_because": published.stopped_because,
    }
    yield from (_message(step, arrival) for step in report.messages for arrival in step.arrivals)


def _started(one: Started) -> StartedItem:
    return {"step": "started", "at_ms": _ms(one.at), "name": one.name, "detail": one.detail}


def _callback(step: CallbackStep) -> CallbackItem:
    scene, report = step.scene, step.report
    return {
        "step": "callback",
        "at_ms": _ms(step.at),
        "says": scene.says,
        "about": scene.about,
        **report.facts,
        "payment_id": scene.payment.id,
        "order_code": scene.payment.order_code,
        "reply": {"status": report.reply.status, "body": report.reply.body},
        "as_expected": not step.differences,
    }


def _message(step: MessageStep, arrival: Arrival) -> MessageItem:
    message = arrival.message
    return {
        "step": "message",
        "at_ms": _ms(arrival.at),
        "event_id": step.event_id,
        "order_code": step.scene.payment.order_code,
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "key": _text(message.key),
        "value": _text(message.value),
        "headers": {name: _text(value) for name, value in message.headers},
        "as_expected": not step.differences,
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
