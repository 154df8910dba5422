"""``payctl show``: the history of one payment, from its callback to its message in Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, TypedDict

import typer

from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input.selector_options import text
from ticketbottle_payctl.cli.input.times import zone_of
from ticketbottle_payctl.cli.output.result import Block, Fields, Part, Result, Styled, bad, bold, dim, good, line, warn
from ticketbottle_payctl.facts import Keywords
from ticketbottle_payctl.formats import local, money
from ticketbottle_payctl.jobs.show import Step, Timeline
from ticketbottle_payctl.jobs.show import show as show_history
from ticketbottle_payctl.telemetry import redact

_MASK = "***"
_HARMLESS = {
    "payment_id", "order_code", "amount_cents", "currency", "provider", "transaction_id", "completed_at", "failed_at",
    "cancelled_at", "paymentId", "orderCode", "amountCents", "transactionId", "completedAt", "failedAt", "cancelledAt",
}  # fmt: skip
_WORDS = {
    "payment_created": "payment created",
    "payment_settled": "payment settled",
    "callback": "callback",
    "event_written": "event written",
    "event_published": "event published",
    "event_replayed": "event replayed",
    "record": "in Kafka",
}


class AdviceFacts(TypedDict):
    """A command to type next."""

    command: str
    why: str


class ShowFacts(TypedDict):
    """The payment; null if there is no row of it."""

    payment_id: str | None
    order_code: str | None
    status: str | None
    amount: int | None
    """Whole units of the currency."""
    currency: str | None
    provider: str | None
    provider_transaction_id: str | None
    next: Sequence[AdviceFacts]
    """What to type next."""


class StepItem(TypedDict):
    """Something that happened."""

    at: datetime
    """UTC."""
    kind: Annotated[str, Keywords(enum=[*_WORDS])]
    id: str
    """The id of the payment, callback or event."""
    facts: Mapping[str, object]
    """What it says, by its kind."""


def show_command(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID|ORDER-CODE", parser=text, help="The id of a payment, event or callback, or an order code."
        ),
    ],
    *,
    unmask: Annotated[
        bool, typer.Option("--unmask", help="Show all fields of the payloads, personal data included.")
    ] = False,
) -> None:
    """Show the history of one payment or event.

    In order of time: callbacks, payment, events, replays and, if KAFKA_BROKERS is set, the messages in the topics. Then
    the command to type next.
    """
    session = Session.of(ctx)
    kafka = _kafka(session)
    session.note_target(brokers=kafka is not None)
    timeline = show_history(
        session.services.engine,
        name,
        max_retries=session.settings.max_retries,
        kafka=kafka,
        now=session.services.now(),
    )
    steps = [_masked(step, unmask=unmask) for step in timeline.steps]
    session.finish(
        Result(
            "payctl.show/1",
            result=_facts(timeline),
            items=[_item(step) for step in steps],
            human=_human(session, timeline, steps),
            warnings=timeline.warnings,
        )
    )


def _kafka(session: Session) -> Mapping[str, str | int | bool] | None:
    if not session.services.environ.get("KAFKA_BROKERS", "").strip():
        return None
    return connection_config(session.settings.kafka)


def _masked(step: Step, *, unmask: bool) -> Step:
    """Return the step without personal data: in a payload, only fields known to be harmless keep their value."""
    facts = dict(step.facts)
    if isinstance(facts.get("last_error"), str):
        facts["last_error"] = redact(str(facts["last_error"]))
    payload = facts.get("payload")
    if not unmask and isinstance(payload, dict):
        facts["payload"] = {
            key: value if key in _HARMLESS and not isinstance(value, dict | list) else _MASK
            for key, value in payload.items()
        }
    elif not unmask and payload is not None:
        facts["payload"] = _MASK
    return step._replace(facts=facts)


def _item(step: Step) -> StepItem:
    return {"at": step.at, "kind": step.kind, "id": step.id, "facts": dict(step.facts)}


def _facts(timeline: Timeline) -> ShowFacts:
    payment = timeline.payment
    return {
        "payment_id": payment.id if payment else None,
        "order_code": payment.order_code if payment else None,
        "status": payment.status if payment else None,
        "amount": payment.amount if payment else None,
        "currency": payment.currency if payment else None,
        "provider": payment.provider if payment else None,
        "provider_transaction_id": payment.reference if payment else None,
        "next": [{"command": advice.command, "why": advice.why} for advice in timeline.advice],
    }


def _human(session: Session, timeline: Timeline, steps: list[Step]) -> list[Block]:
    payment = timeline.payment
    blocks: list[Block] = []
    if payment:
        status = good(payment.status) if payment.status == "COMPLETED" else warn(payment.status)
        amount = money(payment.amount, payment.currency)
        blocks += [line(bold(payment.order_code), status, amount, payment.provider), Fields((("payment", payment.id),))]
    else:
        blocks.append(line(warn("no payment row"), "the events below have no payment in this database"))
    zone = zone_of(session)
    for step in steps:
        at = local(step.at, zone)
        blocks.append(line(dim(at), f"{_WORDS[step.kind]:<15}", *_said(step)))
        if step.facts.get("payload") is not None:
            blocks.append(Fields((("id", step.id), ("payload", step.facts["payload"]))))
    blocks.append(line())
    if not timeline.advice:
        blocks.append(line(good("✔"), "nothing to do"))
    blocks += [line(bold("next:"), advice.command, dim(advice.why)) for advice in timeline.advice]
    return blocks


def _said(step: Step) -> list[Part]:
    """Return the words after the step's name."""
    facts = step.facts
    parts: list[Part] = [str(facts.get("event_type", ""))]
    match step.kind:
        case "payment_created":
            parts = [str(facts["provider"]), money(_whole(facts["amount"]) or 0, str(facts["currency"]))]
        case "payment_settled":
            parts = [_status(str(facts["status"]))]
        case "callback":
            said = f"{facts['outcome']}, {facts['result']}"
            parts = [str(facts["provider"]), f"{said} ({facts['reason']})" if facts["reason"] else said, dim(step.id)]
        case "event_written":
            parts += _state(facts)
        case "event_replayed":
            reason = f"reason: {facts['reason']}" if facts["reason"] else "no reason given"
            parts = [f"by {facts['who']},", reason, dim(f"run {facts['run_id']}")]
        case "record":
            parts = [f"{facts['topic']}, partition {facts['partition']}, offset {facts['offset']}"]
            parts += [warn("from a replay")] if facts["replay_run_id"] else []
    return parts


def _state(facts: Mapping[str, object]) -> list[Part]:
    words: list[Part] = []
    match facts["state"]:
        case "dead":
            words.append(bad(f"dead after {facts['retry_count']} tries"))
        case "pending":
            words.append(warn(f"pending, {facts['retry_count']} tries failed" if facts["retry_count"] else "pending"))
        case _:
            words.append(good("published"))
    if facts["superseded"]:
        words.append(warn("superseded"))
    if facts["last_error"] and facts["state"] != "published":
        words.append(str(facts["last_error"]))
    return words


def _status(status: str) -> Styled:
    return good(status) if status == "COMPLETED" else warn(status)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
