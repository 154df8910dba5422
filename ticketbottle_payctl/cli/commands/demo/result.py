"""The demo's report for programs; the form for people is ``demo_timeline``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ticketbottle_payctl.cli.commands.demo import timeline
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Result
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome
from ticketbottle_payctl.sandbox.demo import Arrival, Backlog, CallbackStep, DemoReport, MessageStep, Started, World


def result_of(report: DemoReport) -> Result:
    """What a demo that is over has shown; exit 6 where something is not as it must be."""
    return _result(report, None, None)


def result_of_kept(report: DemoReport, world: World, backlog: Backlog) -> Result:
    """The same, with what one needs to use the world while it stays."""
    return _result(report, world.settings, backlog)


def _result(report: DemoReport, settings: Mapping[str, str] | None, backlog: Backlog | None) -> Result:
    outcomes = [step.report.outcome for step in report.callbacks]
    differences = report.differences
    return Result(
        "payctl.demo/1",
        ExitCode.PARTIAL if differences else ExitCode.DONE,
        counts={
            "callbacks": len(outcomes),
            "settled": outcomes.count(WebhookOutcome.SETTLED),
            "already_settled": outcomes.count(WebhookOutcome.ALREADY_SETTLED),
            "refused": outcomes.count(WebhookOutcome.REFUSED),
            "published": report.published.counts.published,
            "arrived": sum(len(step.arrivals) for step in report.messages),
            "differences": len(differences),
        },
        result={
            "own_broker": report.own_broker,
            "seconds": round(report.seconds, 3),
            "differences": differences,
            "settings": None if settings is None else dict(settings),
            "backlog": None if backlog is None else {"dead": backlog.dead, "pending": backlog.pending},
        },
        items=list(_items(report)),
        human=[*timeline.story(report), *timeline.way_on(settings, backlog)],
    )


def _items(report: DemoReport) -> Iterator[dict[str, object]]:
    yield from (_started(one) for one in report.started)
    yield from (_callback(step) for step in report.callbacks)
    published = report.published
    yield {
        "step": "published",
        "at_ms": _ms(report.published_at),
        "events": published.counts.published,
        "batches": published.counts.batches,
        "stopped_because": published.stopped_because.value,
    }
    yield from (_message(step, arrival) for step in report.messages for arrival in step.arrivals)


def _started(one: Started) -> dict[str, object]:
    return {"step": "started", "at_ms": _ms(one.at), "name": one.name, "detail": one.detail}


def _callback(step: CallbackStep) -> dict[str, object]:
    scene, report = step.scene, step.report
    return {
        "step": "callback",
        "at_ms": _ms(step.at),
        "provider": report.provider,
        "says": scene.says,
        "about": scene.about,
        "payment_id": scene.payment.id,
        "order_code": scene.payment.order_code,
        "outcome": report.outcome.value,
        "reason": report.reason,
        "status_before": report.status_before,
        "status_after": report.status_after,
        "event_id": report.event.id if report.event else None,
        "receipt_id": report.receipt_id,
        "alert": report.alert.value if report.alert else None,
        "reply": {"status": report.reply.status, "body": report.reply.body},
        "as_expected": not step.differences,
    }


def _message(step: MessageStep, arrival: Arrival) -> dict[str, object]:
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
