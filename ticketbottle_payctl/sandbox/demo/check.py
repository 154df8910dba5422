"""Compare results with expectations. A message's value is compared with the payload as PostgreSQL prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl import providers
from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.jobs.process_webhook import WebhookReport
from ticketbottle_payctl.sandbox.demo.story import Scene

_ROWS: Final = """
    SELECT id, "aggregateId", "aggregateType", "eventType", payload::text AS value,
           published AND "publishedAt" IS NOT NULL AS published
    FROM outbox
"""
_PAYMENTS: Final = "SELECT id, status::text FROM payments"
_RECEIPTS: Final = "SELECT count(*) FROM payctl.webhook_receipts"


class OutboxRow(NamedTuple):
    """An outbox row. ``value`` is the payload as PostgreSQL prints it."""

    id: str
    aggregate_id: str
    aggregate_type: str
    event_type: str
    value: str
    published: bool


def read_rows(connection: Connection) -> dict[str, OutboxRow]:
    """Return the outbox rows by event id."""
    return {row[0]: OutboxRow(*row) for row in connection.exec_driver_sql(_ROWS)}


def of_callback(scene: Scene, report: WebhookReport) -> Iterator[str]:
    """Yield each difference from the expected decision on a callback and from the expected reply."""
    expected = scene.expected
    yield from _compare("outcome", report.outcome.value, expected.outcome.value)
    yield from _compare("reason", report.reason, expected.reason)
    reply = providers.by_name(report.provider).reply(expected.answer)
    yield from _compare("reply", report.reply.body, reply.body)
    yield from _compare("reply's status", report.reply.status, reply.status)


def of_event(row: OutboxRow | None, messages: Sequence[Received], correlation_id: str) -> Iterator[str]:
    """Yield each problem with an event's messages.

    There must be exactly one message, with the right topic, key, headers and payload.
    """
    if row is None:
        yield "it is not in the outbox"
        return
    if not row.published:
        yield "it is not marked as published"
    if len(messages) != 1:
        yield f"{len(messages)} messages for it arrived instead of one"
    for message in messages:
        yield from _compare("topic", message.topic, TOPICS[row.event_type])
        yield from _compare("key", message.key, row.aggregate_id.encode())
        yield from _compare("value", message.value, row.value.encode())
        yield from _compare("headers", dict(message.header), _headers(row, correlation_id))


def of_database(connection: Connection, scenes: Sequence[Scene], events: int) -> Iterator[str]:
    """Yield each wrong payment status, and each unexpected number of events or receipts."""
    statuses: Mapping[str, str] = {row[0]: row[1] for row in connection.exec_driver_sql(_PAYMENTS)}
    for payment_id, scene in {scene.payment.id: scene for scene in scenes}.items():
        name = f"the status of {scene.payment.order_code}"
        yield from _compare(name, statuses.get(payment_id), scene.expected.status)
    yield from _compare("the number of outbox events", len(read_rows(connection)), events)
    authentic = sum(scene.expected.reason != "signature" for scene in scenes)
    yield from _compare("the number of receipts", connection.exec_driver_sql(_RECEIPTS).scalar_one(), authentic)


def _headers(row: OutboxRow, correlation_id: str) -> dict[str, bytes]:
    headers = {
        "id": row.id,
        "eventId": row.id,
        "eventType": row.event_type,
        "aggregateType": row.aggregate_type,
        "eventVersion": "1.0",
        "source": "payment-service",
        "correlationId": correlation_id,
    }
    return {name: value.encode() for name, value in headers.items()}


def _compare(name: str, found: object, wanted: object) -> Iterator[str]:
    if found != wanted:
        yield f"{name} is {found}, not {wanted}"
